"""Every renderer shows the same facts of a document, and nothing that is named in it becomes markup."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perftune.printable import printable
from perftune.reports import html, markdown, study_document, svg
from perftune.reports.document import Bullets, Code, Document, Mark, Paragraph, Point, Scatter, Shape, Table
from perftune.tuning.study_file import load_study
from tests.reports.documents import READERS, WIDTH, document, html_tree, in_terminal, markdown_tokens, said, texts
from tests.studies import kept_study, tuned_study

STORED = sorted((Path(__file__).parents[2] / "reports").glob("*/study.json"))
WORDS = st.lists(texts(), min_size=1, max_size=3)
EXAMPLES = settings(max_examples=60, deadline=None)


def printed(word: str) -> str:
    """What is left of a text when it is printed."""
    return said(printable(word))


def facts(shown: Document) -> list[str]:
    """Every text of a document but those of drawings, in order."""
    found = [shown.title]
    for section in shown.sections:
        found.append(section.title)
        for block in section.blocks:
            if isinstance(block, Paragraph):
                found.append(block.text)
            elif isinstance(block, Bullets):
                found += [f"{one.label}: {one.text}" if one.label else one.text for one in block.bullets]
            elif isinstance(block, Code):
                found += block.lines
            elif isinstance(block, Table):
                found += [column.name for column in block.columns]
                found += [cell.text for row in block.rows for cell in row]
    return [said(fact) for fact in found if fact]


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("make", [tuned_study, kept_study, *STORED], ids=lambda made: getattr(made, "__name__", None))
def test_every_renderer_shows_every_fact_in_order(make: object, reader: str, shape: Shape) -> None:
    study = load_study(make) if isinstance(make, Path) else make()  # type: ignore[operator]
    shown = study_document(study, Path("runs/x"))
    text, at = said(READERS[reader](shown, shape)), 0
    wanted = facts(shown.cut(shape))
    drawing = "Speed against memory"
    for fact in wanted:
        if fact == drawing and reader != "html":
            assert drawing not in text, "a title over nothing"
            continue
        at = text.find(fact, at)
        assert at >= 0, fact
        at += len(fact)
    assert len(wanted) > 20


@EXAMPLES
@given(WORDS)
def test_a_terminal_gets_no_control_characters(words: list[str]) -> None:
    shown = document(*words)
    text = in_terminal(shown)
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    longest = max(len(line.rstrip()) for line in text.splitlines())
    assert longest < WIDTH, "something was wrapped, so the lines below say nothing"
    if all(printed(word) for word in words):
        assert len(text.splitlines()) == len(in_terminal(document(*("x" for _ in words))).splitlines())


@EXAMPLES
@given(WORDS)
def test_markdown_has_the_structure_of_the_document_whatever_it_says(words: list[str]) -> None:
    kinds = [token.type for token in markdown_tokens(document(*words)) if token.type not in {"text", "text_special"}]
    calm = [token.type for token in markdown_tokens(document(*("x" for _ in words))) if token.type != "text"]
    if all(printed(word) for word in words):
        assert kinds == calm
    assert not {"html_inline", "html_block", "link_open", "image", "code_inline", "em_open", "s_open"} & {*kinds}


@EXAMPLES
@given(WORDS)
def test_html_has_the_structure_of_the_document_whatever_it_says(words: list[str]) -> None:
    tags = [element.tag for element in html_tree(document(*words)).iter()]
    assert tags.count("table") == 4
    assert not {"script", "img", "a", "style"} & {*tags}
    text = html.render(document(*words))
    assert text.count("<title>") == 1 + 4
    assert [c for c in text if not c.isprintable() and c != "\n"] == []


@EXAMPLES
@given(texts())
def test_what_can_be_printed_is_said_as_it_is(word: str) -> None:
    for reader in READERS.values():
        assert printed(word) in said(reader(document(word), Shape.REPORT))


@pytest.mark.parametrize("text", ["http://x.yz", "HTTPS://x.yz", "ftp://x.yz", "see www.x.yz", "a@x.yz", "WWW.X.yz"])
def test_markdown_leaves_nothing_that_github_makes_a_link_of(text: str) -> None:
    said_so = markdown.render(document(text)).split("```")[0]
    assert not re.search(r"(https?|ftp)://|www\.|\w@\w", said_so, re.IGNORECASE)


def test_numbers_keep_their_exact_value_in_html() -> None:
    values = [element.attrib["value"] for element in html_tree(study_document(tuned_study())).iter("data")]
    assert str(1312 * 2**20) in values
    assert "0.241" in values


def test_a_fence_is_longer_than_what_it_holds() -> None:
    text = markdown.render(Document("t", document("```` x ````").sections))
    assert "\n`````\n```` x ````\n`````\n" in text


@pytest.mark.parametrize("render", [html.render, markdown.render])
def test_same_study_same_bytes(render: object) -> None:
    assert callable(render)
    assert render(study_document(tuned_study())) == render(study_document(tuned_study()))


def test_numbers_are_to_the_right() -> None:
    text = markdown.render(study_document(tuned_study()))
    assert "| --- | ---: | ---: |" in text
    assert '<th scope="col" class="number strong">tuned</th>' in html.render(study_document(tuned_study()))


def drawn(scatter: Scatter) -> list[dict[str, str]]:
    tree = ET.fromstring(svg.drawing(scatter))
    return [element.attrib for element in tree.iter() if element.find("title") is not None]


def test_what_is_marked_is_drawn_last() -> None:
    marks = [Mark.CHOSEN, Mark.MEASURED, Mark.YOURS, Mark.BEST_SO_FAR]
    points = tuple(Point(1e9, 1.0, mark, "") for mark in marks)
    classes = [attributes["class"] for attributes in drawn(Scatter(points, 2**30))]
    assert classes[:2] == ["completed", "yours"]


def test_the_legend_names_what_is_drawn_and_no_more() -> None:
    text = svg.drawing(Scatter((Point(1e9, 1.0, Mark.YOURS, ""),), 2**30))
    assert "yours</text>" in text
    assert "chosen" not in text
    assert "did not complete" not in text


def test_points_lie_within_the_drawing_and_faster_is_higher() -> None:
    points = (
        Point(1e9, 1.0, Mark.MEASURED, ""),
        Point(9e9, 3.0, Mark.MEASURED, ""),
        Point(9e12, None, Mark.FAILED, ""),
    )
    slow, fast = (attributes for attributes in drawn(Scatter(points, 2**30)) if "cx" in attributes)
    for one in (slow, fast):
        assert svg.LEFT <= float(one["cx"]) <= svg.WIDTH - svg.RIGHT
        assert svg.TOP <= float(one["cy"]) <= svg.HEIGHT - svg.BOTTOM
    assert float(fast["cy"]) < float(slow["cy"])
    assert float(fast["cx"]) > float(slow["cx"])


def test_a_limit_far_away_is_named_and_not_drawn() -> None:
    near, far = (svg.drawing(Scatter((Point(1e9, 1.0, Mark.YOURS, ""),), limit)) for limit in (2**31, 2**40))
    assert 'class="limit"' in near
    assert 'class="limit"' not in far
    assert "limit 1024.00 GiB, beyond this axis" in far
