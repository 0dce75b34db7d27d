"""``perftune.probe``: from Python what ``perftune probe`` is on the command line, and the study in return."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from perftune.planning import TraceCache
from perftune.records.probe import ProbeSpec
from perftune.records.study import Study
from perftune.spec import load_probe, probe_from_python, with_budget
from perftune.spec.python import SOURCE
from perftune.tuning import Observer, probe_study
from perftune.tuning.run_folder import run_folder


def probe(
    path: str | Path | None = None,
    *,
    build: Callable[..., Any] | str | None = None,
    args: Any = None,
    out: str | Path | None = None,
    strategy: str = "model",
    observer: Observer | None = None,
    force: bool = False,
    prior: bool = True,
    trials: int | None = None,
    minutes: float | None = None,
    **options: Any,
) -> Study:
    """Find the fastest TrainingArguments that fit, and prove it.

    Args:
        path: a probe file; or
        build: ``build(args) -> Trainer``, a function at the top level of a file, or ``"path.py:function"``.
        args: with `build`: the TrainingArguments to start from, or a dict of fields.
        out: the folder for the study and the answer; by default the next ``runs/<name>-<n>``, or the newest
            unfinished one of the same probe.
        strategy: ``model``, ``tpe``, ``random`` or ``grid``.
        observer: is told of every trial.
        force: begin anew in a folder that has a study; the old one is kept under another name.
        prior: predict from shapes what may fit, before the first trial.
        trials: replaces the probe's budget of trials.
        minutes: replaces the probe's budget of minutes.
        **options: with `build`: other keys of the probe file, and ``global_batch_size``.

    Raises:
        TypeError: neither or both of `path` and `build`, or options beside a file.
        PerftuneError: see ``perftune.errors``; each class says what to do.
    """
    spec = with_budget(_spec(path, build, args, options), trials, minutes, SOURCE)
    folder = run_folder(spec, strategy=strategy, out=None if out is None else Path(out), force=force)
    return probe_study(
        spec,
        folder.directory,
        strategy=strategy,
        observer=observer,
        force=force,
        prior=prior,
        cache=TraceCache.of_user(),
    )


def _spec(path: str | Path | None, build: Callable[..., Any] | str | None, args: Any, options: Any) -> ProbeSpec:
    if (path is None) == (build is None):
        raise TypeError('give either a probe file, probe("model.yaml"), or probe(build=..., args=...)')
    if build is not None:
        return probe_from_python(build, args, **options)
    assert path is not None
    if options or args is not None:
        named = ", ".join([*(["args"] if args is not None else []), *options])
        raise TypeError(f"{named}: a probe file holds these itself; write them there")
    return load_probe(Path(path))
