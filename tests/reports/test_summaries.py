"""What people read: the facts are in it, and what users and libraries name things cannot become markup."""

import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rich.console import Console

from perftune.records.recommendation import Rejection, TunedLine
from perftune.records.study import Study
from perftune.records.survey import WorstSample
from perftune.renderers import html, markdown, scatter, terminal
from perftune.renderers import text as text_parts
from perftune.units import GIB, format_bytes
from tests.studies import kept_study, recommendation, tuned_study


def shown(study: Study, *, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(terminal.summary(study, Path("runs/classifier-1")))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


RENDERED = {"terminal": shown, "markdown": markdown.render, "html": html.render}
FACTS = [
    "1.71×",
    "77.6",
    "133",
    "3,182",
    "5,444",
    "1.18 GiB",
    "1.28 GiB",
    "412.5 ms",
    "1.44× (1.40 to 1.49)",
    "1.66 to 1.77",
    "sample #1417, 256 tokens",
    "24 steps, +0.12 % (-0.31 to +0.55 %)",
    "fp16 needs a GPU",
    "660.00 MiB (32 %) left",
    "throughput drifted",
    "HfArgumentParser(TrainingArguments).parse_yaml_file",
]


@pytest.mark.parametrize("kind", RENDERED)
@pytest.mark.parametrize("fact", FACTS)
def test_the_facts_are_there(kind: str, fact: str) -> None:
    assert fact in RENDERED[kind](tuned_study()).replace("\\", "")


@pytest.mark.parametrize("kind", RENDERED)
def test_keep_yours_has_one_column(kind: str) -> None:
    text = RENDERED[kind](kept_study())
    assert "Keep yours" in text
    assert "What changes" not in text
    assert not re.search(r"\btuned\b(?!_)", text.split("Not chosen")[0].split("</style>")[-1])


def test_memory_is_that_of_the_run_that_needed_most() -> None:
    study = tuned_study()
    final = next(t for t in study.trials if t.number == study.recommendation.final_trial)
    needed = final.measurement.memory.peak_bytes + GIB
    text = "\n".join(text_parts.certainty(tuned_study(headroom_bytes=study.space.memory_limit_bytes - needed)))
    assert f"Memory: {format_bytes(needed)} of" in text
    assert "in the run that needed most" in text
    assert f"needed {format_bytes(needed - GIB)}" in text


def test_a_worst_sample_without_tokens_says_what_makes_it_heavy() -> None:
    study = tuned_study()
    worst = (WorstSample(index=7, num_tokens=0, num_elements=49_152),)
    study = study.model_copy(update={"survey": study.survey.model_copy(update={"worst_samples": worst})})
    text = "\n".join(text_parts.certainty(study))
    assert "the heaviest is sample #7, 49,152 numbers in its tensors." in text


def test_reasons_are_grouped() -> None:
    text = shown(tuned_study())
    assert "optim=a; optim=b; optim=c; and 2 more: needs a CUDA GPU" in text
    many = tuple(Rejection(what=f"w{i}", reason=f"r{i}") for i in range(24))
    text = shown(tuned_study(rejected=many))
    assert text.count("w1") < 24
    assert "16 more reasons are in report.md" in text


def test_what_was_run_comes_first_and_nothing_is_said_twice() -> None:
    bound, ran = Rejection(what="a=1", reason="a=1: too slow"), Rejection(what="b", reason="out of memory", trial=4)
    assert text_parts.rejected(tuned_study(rejected=(bound, ran))) == [
        ("b (trial 4)", "out of memory"),
        ("a=1", "too slow"),
    ]


def test_figures_of_another_candidate_are_not_said_of_yours() -> None:
    other = recommendation()
    study = kept_study(comparison=other.comparison, loss_check=other.loss_check)
    said = text_parts.certainty(study)
    assert said[0].startswith("The best other candidate against yours: 1.71×")
    assert said[1].startswith("Loss of the best other candidate: ")


@pytest.mark.parametrize("kind", RENDERED)
def test_what_is_missing_is_a_dash(kind: str) -> None:
    before = recommendation().before.model_copy(update={"tokens_per_second": None})
    text = RENDERED[kind](tuned_study(before=before))
    assert re.search(r"tokens/s, no padding\D*–", text)
    assert "None" not in text


HOSTILE = "<script>alert(1)</script> [bold red]x[/bold red] [/] | `a` *b* \x1b[2J\nsecond & 'q' \"d\" ]]>"


def hostile_study() -> Study:
    line = TunedLine(field=HOSTILE, value=HOSTILE, user_value=HOSTILE, reason=HOSTILE)
    return tuned_study(
        HOSTILE,
        lines=(line,),
        rejected=(Rejection(what=HOSTILE, reason=HOSTILE),),
        notes=(HOSTILE,),
        attn_implementation=HOSTILE,
        environment={"A": HOSTILE},
    )


def test_the_terminal_shows_markup_as_it_is() -> None:
    text = shown(hostile_study(), width=2000)
    assert "\x1b" not in text
    assert text.count("[bold red]x[/bold red] [/]") >= 6


def test_markdown_tables_keep_their_columns() -> None:
    text = markdown.render(hostile_study())
    assert "<script" not in re.sub(r"```.*?```", "", text.replace("\\<", ""), flags=re.DOTALL)
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 4
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1


def test_html_is_whole_and_escaped() -> None:
    text = html.render(hostile_study())
    assert "<script" not in text
    assert "http" not in text
    body = text[text.index("<main>") : text.index("</main>") + len("</main>")]
    tree = ET.fromstring(body)
    assert len(tree.findall(".//table")) == 4
    titles = [element.text for element in tree.iter("h1")]
    assert titles == [" ".join(HOSTILE.replace("\x1b", " ").split())]


def test_the_drawing_has_every_trial_of_the_search_the_limit_and_the_chosen_one() -> None:
    tree = ET.fromstring(scatter.svg(tuned_study()))
    drawn = [element for element in tree.iter("circle") if element.find("title") is not None]
    assert len(drawn) == 8
    assert [e.attrib["class"] for e in drawn].count("chosen") == 3
    assert [e.attrib["class"] for e in drawn].count("yours") == 3
    assert len([e for e in tree.iter("path") if e.find("title") is not None]) == 1
    assert [e.attrib["class"] for e in tree.iter("line")].count("limit") == 1
    for circle in drawn:
        assert 0 <= float(circle.attrib["cx"]) <= scatter.WIDTH
        assert 0 <= float(circle.attrib["cy"]) <= scatter.HEIGHT


def test_a_limit_far_away_is_named_and_not_drawn() -> None:
    study = tuned_study()
    space = study.space.model_copy(update={"memory_limit_bytes": 2**40})
    text = scatter.svg(study.model_copy(update={"space": space}))
    assert 'class="limit"' not in text
    assert "limit 1024.00 GiB, beyond this axis" in text


@pytest.mark.parametrize("kind", RENDERED)
def test_an_unfinished_study_has_no_summary(kind: str) -> None:
    with pytest.raises(ValueError, match="no recommendation"):
        RENDERED[kind](tuned_study().model_copy(update={"recommendation": None}))
