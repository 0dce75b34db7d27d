"""What a report is made of: titles, sentences, tables and drawings, and in which shape of it each is shown."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias


class Shape(Enum):
    """How much of a document is wanted."""

    SUMMARY = "summary"
    """What fits on a screen, at the end of a run."""
    REPORT = "report"
    """Everything."""


EVERYWHERE = frozenset(Shape)
SUMMARY_ONLY = frozenset({Shape.SUMMARY})
REPORT_ONLY = frozenset({Shape.REPORT})


class Tone(Enum):
    """How a sentence is meant."""

    PLAIN = "plain"
    QUIET = "quiet"
    TUNED = "tuned"
    KEEP_YOURS = "keep_yours"
    NOT_DECIDED = "not_decided"

    @property
    def is_verdict(self) -> bool:
        """Whether it is the answer itself."""
        return self not in (Tone.PLAIN, Tone.QUIET)


class Kind(Enum):
    """What a column holds."""

    TEXT = "text"
    NAME = "name"
    """Of an argument, a value or a figure; broken only where there is no room."""
    NUMBER = "number"
    """Aligned to the right."""


@dataclass(frozen=True)
class Cell:
    """A cell as it is shown, and where it is a number the exact one, in bytes, seconds or per second."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    kind: Kind = Kind.TEXT
    is_strong: bool = False
    shapes: frozenset[Shape] = EVERYWHERE


@dataclass(frozen=True)
class Paragraph:
    """Sentences."""

    text: str
    tone: Tone = Tone.PLAIN
    shapes: frozenset[Shape] = EVERYWHERE


@dataclass(frozen=True)
class Bullet:
    """One point of a list."""

    text: str
    label: str = ""
    """What it is about; stands before the text."""
    shapes: frozenset[Shape] = EVERYWHERE


@dataclass(frozen=True)
class Bullets:
    """A list of points."""

    bullets: tuple[Bullet, ...]
    shapes: frozenset[Shape] = EVERYWHERE


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; without a header where no column has a name."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    shapes: frozenset[Shape] = EVERYWHERE

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("a row has not as many cells as there are columns")

    @property
    def has_header(self) -> bool:
        """Whether a column has a name."""
        return any(column.name for column in self.columns)


@dataclass(frozen=True)
class Code:
    """Lines to copy."""

    lines: tuple[str, ...]
    shapes: frozenset[Shape] = EVERYWHERE


class Mark(Enum):
    """What a point of a drawing stands for; the value is the word of its legend."""

    MEASURED = "measured"
    YOURS = "yours"
    BEST_SO_FAR = "best so far"
    CHOSEN = "chosen"
    FAILED = "did not complete"


@dataclass(frozen=True)
class Point:
    """One trial."""

    num_bytes: float
    per_second: float | None
    """None: it did not complete."""
    mark: Mark
    label: str


@dataclass(frozen=True)
class Scatter:
    """Samples per second against peak memory. What it shows is also in a table, for those who cannot see it."""

    points: tuple[Point, ...]
    limit_bytes: int
    shapes: frozenset[Shape] = EVERYWHERE


Block: TypeAlias = Paragraph | Bullets | Table | Code | Scatter


@dataclass(frozen=True)
class Section:
    """Blocks under a title; the first section of a document has none."""

    title: str
    blocks: tuple[Block, ...]
    shapes: frozenset[Shape] = EVERYWHERE


@dataclass(frozen=True)
class Document:
    """Everything that there is to say."""

    title: str
    sections: tuple[Section, ...]
    title_shapes: frozenset[Shape] = EVERYWHERE

    def cut(self, shape: Shape) -> "Document":
        """What is shown in one shape; what would be empty is left out, and a title that is not shown is empty."""
        sections = [
            replace(section, blocks=_cut_all(section.blocks, shape))
            for section in self.sections
            if shape in section.shapes
        ]
        title = self.title if shape in self.title_shapes else ""
        return Document(title, tuple(section for section in sections if section.blocks))


def _cut_all(blocks: tuple[Block, ...], shape: Shape) -> tuple[Block, ...]:
    cut = [_cut(block, shape) for block in blocks if shape in block.shapes]
    return tuple(block for block in cut if not isinstance(block, Bullets) or block.bullets)


def _cut(block: Block, shape: Shape) -> Block:
    if isinstance(block, Bullets):
        return replace(block, bullets=tuple(bullet for bullet in block.bullets if shape in bullet.shapes))
    if isinstance(block, Table):
        kept = [number for number, column in enumerate(block.columns) if shape in column.shapes]
        rows = tuple(tuple(row[number] for number in kept) for row in block.rows)
        return replace(block, columns=tuple(block.columns[number] for number in kept), rows=rows)
    return block
