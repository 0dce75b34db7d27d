"""Words to the blocks that every summary in a terminal is made of."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def heading(words: str) -> RenderableType:
    """A bold line with an empty one before it."""
    return Group(Text(), Text(words, "bold"))


def bullet(words: str) -> RenderableType:
    """One point; long ones wrap behind it."""
    row = Table.grid(padding=(0, 1))
    row.add_row(" •", Text(words))
    return row
