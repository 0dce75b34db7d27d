"""``perftune probe``: a probe file to a run folder with the answer, and what to say on the way."""

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perftune.cli.console import show
from perftune.errors import Interrupted

if TYPE_CHECKING:
    from perftune.records.study import Study
    from perftune.tuning import Observer


PIPE_WIDTH = 120
"""Columns of the summary in a log or a pipe."""


class StrategyName(str, Enum):
    """Names of search strategies."""

    MODEL = "model"
    TPE = "tpe"
    RANDOM = "random"
    GRID = "grid"


def probe(
    path: Annotated[Path, typer.Argument(metavar="MODEL.yaml", help="The probe file; `perftune init` writes one.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the run.", show_default="runs/<name>-<n>")
    ] = None,
    strategy: Annotated[StrategyName, typer.Option(help="How candidates are chosen.")] = StrategyName.MODEL,
    trials: Annotated[int | None, typer.Option(min=1, help="Instead of the probe's budget of trials.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Instead of the probe's budget of minutes.")] = None,
    prior: Annotated[
        bool, typer.Option("--prior/--no-prior", help="Predict from shapes what may fit, before the first trial.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Begin anew; the old folder gets another name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing while it runs.")] = False,
) -> None:
    """Measure what fits, and write the fastest TrainingArguments with the proof.

    Ctrl-C stops in order; the same command goes on from there.
    """
    if minutes is not None and not 0 < minutes < float("inf"):
        raise typer.BadParameter(f"{minutes} is not a number of minutes above 0.", param_hint="--minutes")
    # Not above: `perftune --help` does without pydantic.
    from perftune.planning import TraceCache
    from perftune.spec import load_probe
    from perftune.tuning import probe_study
    from perftune.tuning.run_folder import run_folder, with_budget

    spec = with_budget(load_probe(path), trials, minutes)
    folder = run_folder(spec, strategy=strategy.value, out=out, force=force)
    silent = quiet or as_json
    if folder.resumed and not silent:
        typer.echo(f"Going on with {folder.directory}, which was not finished. Begin anew with --force.")
    try:
        with _observer(silent) as observer:
            study = probe_study(
                spec,
                folder.directory,
                strategy=strategy.value,
                observer=observer,
                force=force,
                prior=prior,
                cache=TraceCache.of_user(),
            )
    except KeyboardInterrupt:
        raise Interrupted(_stopped(folder.directory)) from None
    _show(study, folder.directory, as_json=as_json)


def _observer(silent: bool) -> "AbstractContextManager[Observer]":
    from perftune.cli.line_view import LineView
    from perftune.cli.live_view import LiveView
    from perftune.tuning import SilentObserver

    if silent:
        return nullcontext(SilentObserver())
    return LiveView() if sys.stdout.isatty() else nullcontext(LineView())


def _stopped(directory: Path) -> str:
    best = directory / "training_args.best_so_far.yaml"
    so_far = f" The best so far is {best}." if best.exists() else ""
    return f"interrupted; what was measured is in {directory}; the same command goes on.{so_far}"


def _show(study: "Study", directory: Path, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer(study, directory), indent=2))
        return
    from perftune.renderers import terminal

    show(terminal.summary(study, directory), PIPE_WIDTH)


def answer(study: "Study", directory: Path) -> dict[str, Any]:
    """What ``--json`` prints: the recommendation, and where its files are."""
    assert study.recommendation is not None
    return {
        "name": study.probe.name,
        "directory": str(directory),
        "training_args": str(directory / "training_args.yaml"),
        "study": str(directory / "study.json"),
        "num_trials": len(study.trials),
        "memory_limit_bytes": study.space.memory_limit_bytes,
        "recommendation": study.recommendation.model_dump(mode="json"),
    }
