"""``perftune probe``: a probe file to a run folder with the answer, and what to say on the way."""

import sys
from argparse import BooleanOptionalAction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perftune.cli.options import AddVerb, number_of_minutes, verb_parser, whole_number
from perftune.cli.streams import say
from perftune.errors import Interrupted
from perftune.printable import ascii_json

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from perftune.records.study import Study
    from perftune.tuning import Observer


PIPE_WIDTH = 120
"""Columns of the summary in a log or a pipe."""


STRATEGIES = ("model", "tpe", "random", "grid")
"""How candidates may be chosen."""


def declare(add_verb: AddVerb) -> None:
    """Add the verb to the command line."""
    text = "Measure what fits, and write the fastest TrainingArguments with the proof."
    parser = verb_parser(add_verb, probe, "probe", text)
    parser.description = f"{text} Ctrl-C stops in order; the same command goes on from there."
    add = parser.add_argument
    add("path", type=Path, metavar="MODEL.yaml", help="The probe file; `perftune init` writes one.")
    add("--out", type=Path, metavar="FOLDER", help="Folder of the run. (runs/<name>-<n>)")
    add("--strategy", choices=STRATEGIES, default="model", help="How candidates are chosen. (%(default)s)")
    add("--trials", type=whole_number, metavar="N", help="Instead of the probe's budget of trials.")
    add("--minutes", type=number_of_minutes, metavar="M", help="Instead of the probe's budget of minutes.")
    add(
        "--prior", action=BooleanOptionalAction, default=True,
        help="Predict from shapes what may fit, before the first trial.",
    )  # fmt: skip
    add("--force", action="store_true", help="Begin anew; the old folder gets another name.")
    add("--json", dest="as_json", action="store_true", help="Print one JSON object and nothing else.")
    add("--quiet", action="store_true", help="Say nothing while it runs.")


def probe(
    path: Path,
    out: Path | None,
    strategy: str,
    trials: int | None,
    minutes: float | None,
    prior: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure, write the answer, and show it.

    Raises:
        Interrupted: after Ctrl-C.
    """
    # Not above: `perftune --help` does without them.
    from perftune.planning import TraceCache
    from perftune.spec import load_probe, with_budget
    from perftune.tuning import probe_study
    from perftune.tuning.run_folder import run_folder

    spec = with_budget(load_probe(path), trials, minutes, "the command line")
    folder = run_folder(spec, strategy=strategy, out=out, force=force)
    silent = quiet or as_json
    if folder.resumed and not silent:
        say(f"Going on with {folder.directory}, which was not finished. Begin anew with --force.")
    try:
        with _observer(silent) as observer:
            study = probe_study(
                spec,
                folder.directory,
                strategy=strategy,
                observer=observer,
                force=force,
                prior=prior,
                cache=TraceCache.of_user(),
            )
    except KeyboardInterrupt:
        raise Interrupted(_stopped(folder.directory)) from None
    _show(study, folder.directory, as_json=as_json)


def _observer(silent: bool) -> "AbstractContextManager[Observer]":
    from contextlib import nullcontext

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
        import json

        print(ascii_json(json.dumps(answer(study, directory), indent=2)))
        return
    from perftune.cli.console import show
    from perftune.reports import study_document, terminal

    show(terminal.render(study_document(study, directory)), PIPE_WIDTH)


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
