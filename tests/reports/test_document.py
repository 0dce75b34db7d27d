"""A document is cut to a shape once, so that no renderer decides what is shown."""

import pytest

from perftune.reports.document import (
    REPORT_ONLY,
    SUMMARY_ONLY,
    Bullet,
    Bullets,
    Cell,
    Code,
    Column,
    Document,
    Paragraph,
    Section,
    Shape,
    Table,
)

TABLE = Table(
    (Column("a"), Column("b", shapes=REPORT_ONLY), Column("c", shapes=SUMMARY_ONLY)),
    ((Cell("1"), Cell("2"), Cell("3")),),
)
WHOLE = Document(
    "title",
    (
        Section("", (Paragraph("always"), Paragraph("short", shapes=SUMMARY_ONLY), TABLE)),
        Section("points", (Bullets((Bullet("one"), Bullet("two", shapes=REPORT_ONLY))),)),
        Section("report", (Code(("x",)),), REPORT_ONLY),
        Section("only short within", (Code(("y",), SUMMARY_ONLY),)),
    ),
    title_shapes=REPORT_ONLY,
)


def test_a_summary_has_what_is_for_it() -> None:
    cut = WHOLE.cut(Shape.SUMMARY)
    assert cut.title == ""
    assert [section.title for section in cut.sections] == ["", "points", "only short within"]
    always, short, table = cut.sections[0].blocks
    assert (always, short) == (Paragraph("always"), Paragraph("short", shapes=SUMMARY_ONLY))
    assert isinstance(table, Table)
    assert [column.name for column in table.columns] == ["a", "c"]
    assert table.rows == ((Cell("1"), Cell("3")),)
    assert cut.sections[1].blocks == (Bullets((Bullet("one"),)),)


def test_a_report_has_the_rest_and_no_empty_section() -> None:
    cut = WHOLE.cut(Shape.REPORT)
    assert cut.title == "title"
    assert [section.title for section in cut.sections] == ["", "points", "report"]
    assert [type(block) for block in cut.sections[0].blocks] == [Paragraph, Table]


@pytest.mark.parametrize("shape", Shape)
def test_what_is_cut_is_cut_once(shape: Shape) -> None:
    assert WHOLE.cut(shape).cut(shape) == WHOLE.cut(shape)


def test_a_list_without_a_point_is_left_out() -> None:
    empty = Document("t", (Section("s", (Bullets((Bullet("x", shapes=SUMMARY_ONLY),)),)),))
    assert empty.cut(Shape.REPORT).sections == ()


def test_a_row_with_other_cells_than_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="as many cells"):
        Table((Column("a"),), ((Cell("1"), Cell("2")),))
