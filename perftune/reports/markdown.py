"""A document to GitHub-flavoured Markdown."""

import re
from collections.abc import Iterable

from perftune.printable import printable
from perftune.reports.document import Block, Bullets, Code, Document, Kind, Paragraph, Shape, Table

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#~!&@"})
_LIST_MARK = re.compile(r"^([-+]|\d+[.)])(?![\w.])")
"""What would begin a list, or draw a line, at the start of a block."""
_LINK = re.compile(r"(?<=[hpsw.])(://)|\b(www)\.", re.IGNORECASE)
"""What GitHub turns into a link by itself."""


def render(document: Document, shape: Shape = Shape.REPORT) -> str:
    """The document as Markdown; nothing that a user named can become markup. Drawings are left out."""
    cut = document.cut(shape)
    parts = [f"# {_escaped(cut.title)}"] if cut.title else []
    for section in cut.sections:
        blocks = [text for block in section.blocks if (text := _block(block))]
        parts += [f"## {_escaped(section.title)}"] if section.title and blocks else []
        parts += blocks
    return "\n\n".join(parts) + "\n"


def _escaped(words: str) -> str:
    text = " ".join(printable(words).split()).translate(_SPECIAL)
    text = _LIST_MARK.sub(lambda m: f"{m[1][:-1]}\\{m[1][-1]}", text)
    return _LINK.sub(lambda m: "\\://" if m[1] else f"{m[2]}\\.", text)


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        text = _escaped(block.text)
        return f"**{text}**" if block.tone.is_verdict else text
    if isinstance(block, Bullets):
        return "\n".join(
            f"- **{_escaped(bullet.label)}**: {_escaped(bullet.text)}" if bullet.label else f"- {_escaped(bullet.text)}"
            for bullet in block.bullets
        )
    if isinstance(block, Table):
        return _table(block)
    return _code(block) if isinstance(block, Code) else ""


def _table(table: Table) -> str:
    lines = [_row(column.name for column in table.columns)]
    lines.append(f"| {' | '.join('---:' if c.kind is Kind.NUMBER else '---' for c in table.columns)} |")
    return "\n".join([*lines, *(_row(cell.text for cell in row) for row in table.rows)])


def _row(texts: Iterable[str]) -> str:
    return f"| {' | '.join(_escaped(text) for text in texts)} |"


def _code(code: Code) -> str:
    """A fence is longer than any that stands in the code."""
    lines = [printable(line) for line in code.lines]
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, *lines, fence])
