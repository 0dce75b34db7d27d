"""A document to one HTML file that needs nothing else, with its drawings."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from perftune.printable import printable
from perftune.reports import svg
from perftune.reports.document import (
    Block,
    Bullet,
    Bullets,
    Cell,
    Code,
    Column,
    Document,
    Paragraph,
    Shape,
    Table,
)


def render(document: Document, shape: Shape = Shape.REPORT) -> str:
    """The document as HTML; everything that a user or a library named is escaped.

    Numbers keep their exact value in ``<data value="…">``, in bytes, seconds or per second.
    """
    style = files("perftune.reports").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escaped(document.title)} – perftune</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"{_body(document.cut(shape))}\n</main>\n</body>\n</html>\n"
    )


def _body(document: Document) -> str:
    parts = [f"<h1>{_escaped(document.title)}</h1>"] if document.title else []
    for section in document.sections:
        parts += [f"<h2>{_escaped(section.title)}</h2>"] if section.title else []
        parts += [_block(block) for block in section.blocks]
    return "\n".join(parts)


def _escaped(words: str) -> str:
    return escape(printable(words))


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        kind = f"verdict {block.tone.value}" if block.tone.is_verdict else block.tone.value
        return f'<p class="{kind}">{_escaped(block.text)}</p>'
    if isinstance(block, Bullets):
        return f"<ul>{''.join(_item(bullet) for bullet in block.bullets)}</ul>"
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Code):
        return f"<pre>{chr(10).join(_escaped(line) for line in block.lines)}</pre>"
    return svg.drawing(block)


def _item(bullet: Bullet) -> str:
    label = f"<b>{_escaped(bullet.label)}</b>: " if bullet.label else ""
    return f"<li>{label}{_escaped(bullet.text)}</li>"


def _table(table: Table) -> str:
    classes = [_class(column) for column in table.columns]
    names = zip(classes, table.columns, strict=True)
    head = "".join(f'<th scope="col"{kind}>{_escaped(column.name)}</th>' for kind, column in names)
    header = f"<thead><tr>{head}</tr></thead>" if table.has_header else ""
    body = "".join(f"<tr>{_row(classes, row)}</tr>\n" for row in table.rows)
    return f'<div class="wide"><table>{header}<tbody>\n{body}</tbody></table></div>'


def _row(classes: Sequence[str], row: Sequence[Cell]) -> str:
    return "".join(f"<td{kind}>{_cell(cell)}</td>" for kind, cell in zip(classes, row, strict=True))


def _cell(cell: Cell) -> str:
    text = _escaped(cell.text)
    return text if cell.value is None else f'<data value="{cell.value:.12g}">{text}</data>'


def _class(column: Column) -> str:
    return f' class="{column.kind.value}{" strong" if column.is_strong else ""}"'
