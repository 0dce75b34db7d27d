"""The document of a study: the facts are in it, in the shape that they belong to."""

from pathlib import Path

import pytest

from perftune.records.recommendation import Decision, Rejection
from perftune.records.study import Study
from perftune.records.survey import WorstSample
from perftune.reports import html, study_document
from perftune.reports.certainty import certainty
from perftune.reports.document import Bullet, Mark, Scatter, Shape, Table
from perftune.reports.rejected import rejected_bullets
from perftune.reports.trials import scatter
from perftune.units import GIB, format_bytes
from tests.reports.documents import READERS, html_tree, in_html, in_terminal, said
from tests.studies import TUNED, kept_study, recommendation, tuned_study

FACTS = [
    "Tuned: 1.71× the samples per second (1.66 to 1.77).",
    "77.6",
    "133",
    "3,182",
    "5,444",
    "1.18 GiB",
    "1.28 GiB",
    "412.5 ms",
    "1.44× (1.40 to 1.49)",
    "Against yours: 1.71× (1.66 to 1.77), 95 % interval, 2 paired runs.",
    "sample #1417, 256 tokens",
    "24 steps, +0.12 % (-0.31 to +0.55 %)",
    "fp16 needs a GPU",
    "660.00 MiB (32 %) left",
    "throughput drifted",
    "HfArgumentParser(TrainingArguments).parse_yaml_file",
]


def shown(study: Study, shape: Shape = Shape.SUMMARY) -> str:
    return said(in_terminal(study_document(study, Path("runs/classifier-1")), shape))


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("fact", FACTS)
def test_the_facts_are_there(fact: str, shape: Shape) -> None:
    assert fact in shown(tuned_study(), shape)


def test_a_summary_says_where_the_files_are_and_a_report_lies_beside_them() -> None:
    summary, report = shown(tuned_study()), shown(tuned_study(), Shape.REPORT)
    assert "parse_yaml_file('runs/classifier-1/training_args.yaml')" in summary
    assert "Everything that was measured: runs/classifier-1/report.html, report.md, study.json" in summary
    assert "parse_yaml_file('training_args.yaml')" in report
    assert "runs/" not in report
    assert "parse_yaml_file('training_args.yaml')" in said(in_terminal(study_document(tuned_study()), Shape.SUMMARY))


def test_only_a_report_has_every_trial_and_every_reason() -> None:
    summary, report = shown(tuned_study()), shown(tuned_study(), Shape.REPORT)
    assert "All 13 trials" not in summary
    assert "All 13 trials" in report
    assert "1.44 times as fast with it as without" not in summary, "the row shows it"
    assert "1.44 times as fast with it as without (1.40 to 1.49), 90.00 MiB less at peak" in report
    assert "gradient_accumulation_steps: keeps the global batch: 16 × 2 × 1 = 32" in summary


def columns(study: Study) -> list[str]:
    figures = study_document(study).sections[0].blocks[-1]
    assert isinstance(figures, Table)
    return [column.name for column in figures.columns]


def test_figures_stand_beside_the_users_own_where_something_was_found() -> None:
    assert columns(tuned_study()) == ["", "yours", "tuned"]
    assert columns(kept_study()) == ["", "yours"]
    undecided = {"decision": Decision.NOT_DECIDED}
    assert columns(kept_study(**undecided, best_so_far=TUNED)) == ["", "yours", "best so far"]
    never_alone = TUNED.replace(per_device_train_batch_size=64)
    assert columns(kept_study(**undecided, best_so_far=never_alone)) == ["", "yours"]


def test_the_best_so_far_has_the_figures_of_its_own_runs() -> None:
    study = kept_study(decision=Decision.NOT_DECIDED, best_so_far=TUNED)
    figures = study_document(study).sections[0].blocks[-1]
    assert isinstance(figures, Table)
    assert [cell.value for cell in figures.rows[2][1:]] == [0.4125, pytest.approx(0.241)]


def test_keep_yours_says_nothing_of_lines() -> None:
    text = shown(kept_study(), Shape.REPORT)
    assert "Keep yours" in text
    assert "What changes" not in text


def test_cost_is_shown_where_there_is_a_price() -> None:
    study = tuned_study()
    assert "cost of a million samples" not in shown(study)
    priced = study.probe.model_copy(update={"target": study.probe.target.model_copy(update={"price_per_hour": 3.6})})
    before = recommendation().before.model_copy(update={"cost_per_million_samples": 12.886})
    assert study.recommendation is not None
    answer = study.recommendation.model_copy(update={"before": before})
    text = shown(study.model_copy(update={"probe": priced, "recommendation": answer}))
    assert "cost of a million samples 12.89 –" in text


@pytest.mark.parametrize("reader", READERS)
def test_what_is_missing_is_a_dash(reader: str) -> None:
    before = recommendation().before.model_copy(update={"tokens_per_second": None})
    text = said(READERS[reader](study_document(tuned_study(before=before)), Shape.REPORT))
    assert "tokens/s, no padding – 5,444" in text
    assert "None" not in text


def test_memory_is_that_of_the_run_that_needed_most() -> None:
    study = tuned_study()
    final = next(t for t in study.trials if t.number == study.recommendation.final_trial)
    needed = final.measurement.memory.peak_bytes + GIB
    text = shown(tuned_study(headroom_bytes=study.space.memory_limit_bytes - needed))
    assert f"Memory: {format_bytes(needed)} of" in text
    assert "in the run that needed most" in text
    assert f"needed {format_bytes(needed - GIB)}" in text


def test_a_worst_sample_without_tokens_says_what_makes_it_heavy() -> None:
    study = tuned_study()
    worst = (WorstSample(index=7, num_tokens=0, num_elements=49_152),)
    study = study.model_copy(update={"survey": study.survey.model_copy(update={"worst_samples": worst})})
    assert Bullet("the heaviest is sample #7, 49,152 numbers in its tensors.", "Worst batch") in certainty(study)


def test_reasons_are_grouped() -> None:
    assert "optim=a; optim=b; optim=c; and 2 more: needs a CUDA GPU" in shown(tuned_study())


def test_a_summary_has_the_first_reasons_and_says_where_the_others_are() -> None:
    many = tuple(Rejection(what=f"w{i}", reason=f"r{i}") for i in range(24))
    summary, report = shown(tuned_study(rejected=many)), shown(tuned_study(rejected=many), Shape.REPORT)
    assert "w7: r7 • 16 more reasons are in report.md" in summary
    assert "w8" not in summary
    assert "w23: r23" in report
    assert "more reason" not in report
    assert "1 more reason is in" in shown(tuned_study(rejected=many[:9]))
    assert "more reason" not in shown(tuned_study(rejected=many[:8]))


def test_what_was_run_comes_first_and_nothing_is_said_twice() -> None:
    bound, ran = Rejection(what="a=1", reason="a=1: too slow"), Rejection(what="b", reason="out of memory", trial=4)
    answer = recommendation().model_copy(update={"rejected": (bound, ran)})
    assert rejected_bullets(answer) == (Bullet("out of memory", "b (trial 4)"), Bullet("too slow", "a=1"))


def test_the_drawing_has_every_trial_of_the_search_and_marks_yours_and_the_chosen_one() -> None:
    drawn = scatter(tuned_study())
    marks = [point.mark for point in drawn.points]
    assert (len(marks), marks.count(Mark.CHOSEN), marks.count(Mark.YOURS), marks.count(Mark.FAILED)) == (9, 3, 3, 1)
    assert drawn.limit_bytes == 2 * GIB
    undecided = scatter(kept_study(decision=Decision.NOT_DECIDED, best_so_far=TUNED))
    assert [p.mark for p in undecided.points].count(Mark.BEST_SO_FAR) == 3
    assert [p.mark for p in undecided.points].count(Mark.CHOSEN) == 0


def test_out_of_memory_without_a_figure_lies_at_the_limit_and_a_crash_nowhere() -> None:
    study = tuned_study()
    failed = study.trials[3]
    assert failed.failure is not None
    unknown = failed.model_copy(update={"failure": failed.failure.model_copy(update={"peak_bytes": None})})
    (point,) = scatter(study.model_copy(update={"trials": (unknown, study.trials[5])})).points
    assert (point.num_bytes, point.per_second) == (2 * GIB, None)


def test_what_is_drawn_stands_in_the_table_of_trials() -> None:
    document = study_document(tuned_study()).cut(Shape.REPORT)
    (drawing,) = (b for section in document.sections for b in section.blocks if isinstance(b, Scatter))
    rows = {", ".join(cell.text for cell in row) for row in document.sections[-1].blocks[0].rows}
    assert {point.label for point in drawing.points} <= rows
    assert len(html_tree(document).findall(".//circle/title")) == 8


def test_an_unfinished_study_has_no_document() -> None:
    with pytest.raises(ValueError, match="no recommendation"):
        study_document(tuned_study().model_copy(update={"recommendation": None}))


def test_the_page_is_named_after_the_probe() -> None:
    assert "<title>a &lt;b&gt; – perftune</title>" in html.render(study_document(tuned_study("a <b>")))
    assert in_html(study_document(tuned_study("mine"))).split()[0] == "mine"
