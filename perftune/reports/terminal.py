"""A document to what a terminal shows."""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from perftune.printable import printable
from perftune.reports.document import (
    Block,
    Bullet,
    Bullets,
    Code,
    Document,
    Kind,
    Paragraph,
    Scatter,
    Shape,
    Table,
    Tone,
)

STYLES = {
    Tone.PLAIN: "",
    Tone.QUIET: "dim",
    Tone.TUNED: "bold green",
    Tone.KEEP_YOURS: "bold yellow",
    Tone.NOT_DECIDED: "bold cyan",
}


def render(document: Document, shape: Shape = Shape.SUMMARY) -> RenderableType:
    """The document for rich; nothing that a user named can become markup or move the cursor. Drawings are left out."""
    cut = document.cut(shape)
    parts: list[RenderableType] = [Text()]
    if cut.title:
        parts.append(_text(cut.title, "bold"))
    for section in cut.sections:
        blocks = [block for block in section.blocks if not isinstance(block, Scatter)]
        if section.title and blocks:
            parts += [Text(), _text(section.title, "bold")]
        for before, block in zip([None, *blocks], blocks, strict=False):
            if before is not None and isinstance(before, Paragraph) != isinstance(block, Paragraph):
                parts.append(Text())
            parts += _block(block)
    return Group(*parts)


def _text(words: str, style: str = "") -> Text:
    return Text(printable(words), style)


def _block(block: Block) -> list[RenderableType]:
    if isinstance(block, Paragraph):
        return [_text(block.text, STYLES[block.tone])]
    if isinstance(block, Bullets):
        return [_bullet(bullet) for bullet in block.bullets]
    if isinstance(block, Table):
        return [_table(block)]
    if isinstance(block, Code):
        return [Padding(_text(line, "cyan"), (0, 0, 0, 4), expand=False) for line in block.lines]
    return []


def _bullet(bullet: Bullet) -> RenderableType:
    """Long ones wrap behind the dot."""
    row = Grid.grid(padding=(0, 1))
    row.add_row(" •", _text(f"{bullet.label}: {bullet.text}" if bullet.label else bullet.text))
    return row


def _table(table: Table) -> Grid:
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=table.has_header)
    for column in table.columns:
        grid.add_column(
            _text(column.name),
            justify="right" if column.kind is Kind.NUMBER else "left",
            overflow="fold",
            style="bold" if column.is_strong else "",
        )
    for row in table.rows:
        grid.add_row(*(_text(cell.text) for cell in row))
    return grid
