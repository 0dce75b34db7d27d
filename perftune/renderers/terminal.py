"""A study to a rich renderable: the summary that stands in the terminal when a probe is done."""

from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from perftune.records.study import Study
from perftune.renderers import content
from perftune.renderers.content import Table


def _table(table: Table) -> RenderableType:
    drawn = RichTable(title=Text(table.title, style="bold"), title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(table.columns):
        drawn.add_column(Text(column, style="dim"), overflow="fold", no_wrap=number == 0 and len(table.columns) > 2)
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return Padding(drawn, (1, 0, 0, 0))


def _facts(study_facts: list[tuple[str, str]]) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in study_facts:
        grid.add_row(Text(name), Text(value))
    return Padding(grid, (1, 0, 0, 0))


def summary(study: Study, directory: Path | None = None) -> RenderableType:
    """The answer, its figures, its reasons, what it rests on, and the lines that use it.

    Args:
        study: finished.
        directory: where its files are.

    Raises:
        ValueError: the study has no recommendation yet.
    """
    parts: list[RenderableType] = [Text(content.headline(study), style="bold green")]
    tables = (content.before_and_after(study), content.tuned_lines(study), content.rejected(study))
    parts += [_table(table) for table in tables if table.rows]
    parts.append(_facts(content.facts(study)))
    path = str((directory or Path()) / "training_args.yaml")
    return Group(*parts, Padding(Text(content.how_to_use(path)), (1, 0, 0, 0)))
