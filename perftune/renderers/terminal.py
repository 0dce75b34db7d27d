"""A study to the summary that a terminal shows at the end."""

from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from perftune.records.recommendation import Decision
from perftune.records.study import Study
from perftune.renderers import text
from perftune.renderers.blocks import bullet, heading

MAX_REJECTED = 8


def summary(study: Study, directory: Path | None = None) -> RenderableType:
    """Before and after, each tuned line with its effect, what was rejected, how sure it is, what to do next.

    Args:
        study: with a recommendation.
        directory: where its files are, as the user would type it.
    """
    recommendation = text.recommended(study)
    tuned = recommendation.decision is Decision.TUNED
    parts: list[RenderableType] = [
        Text(),
        Text(text.verdict(study), "bold green" if tuned else "bold yellow"),
        Text(f"{text.clean(study.probe.name)} on {text.place(study)}", "dim"),
        Text(),
        _figures(study, tuned),
    ]
    if recommendation.lines:
        parts += [heading("What changes, and what each line does"), _lines(study)]
    parts += [heading("How sure this is"), *_bullets(text.certainty(study))]
    rejected = text.rejected(study)
    if rejected:
        parts += [heading("Not chosen"), *_bullets([f"{what}: {reason}" for what, reason in rejected[:MAX_REJECTED]])]
        if len(rejected) > MAX_REJECTED:
            parts.append(bullet(f"{len(rejected) - MAX_REJECTED} more reasons are in report.md"))
    if recommendation.notes:
        parts += [heading("Notes"), *_bullets(text.notes(study))]
    parts += [heading("Next"), *_next(study, directory)]
    return Group(*parts)


def _bullets(lines: list[str]) -> list[RenderableType]:
    return [bullet(line) for line in lines]


def _figures(study: Study, tuned: bool) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("")
    table.add_column("yours", justify="right")
    if tuned:
        table.add_column("tuned", justify="right", style="bold")
    for name, before, after in text.before_and_after(study):
        table.add_row(name, before, *([after] if tuned else []))
    return table


def _lines(study: Study) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate(text.LINE_HEADER):
        table.add_column(name, overflow="fold", style="cyan" if number == 0 else "")
    reasons: list[RenderableType] = []
    for line in text.recommended(study).lines:
        table.add_row(*(Text(cell) for cell in text.line_cells(line)))
        if line.speedup is None:  # else the reason says in words what the row shows
            reasons.append(bullet(f"{text.clean(line.field)}: {text.clean(line.reason)}"))
    return Group(table, *reasons)


def _next(study: Study, directory: Path | None) -> list[RenderableType]:
    path = str((directory or Path()) / "training_args.yaml")
    parts: list[RenderableType] = [
        Padding(Text(line, "cyan"), (0, 0, 0, 4), expand=False) for line in text.next_steps(study, path)
    ]
    if directory is not None:
        said = f"Everything that was measured: {text.clean(directory)}/report.html, report.md, study.json"
        parts += [Text(), Text(said, "dim")]
    return parts
