"""A probe and a folder to a finished study with its files: opened or gone on with, run phase by phase, written."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from perftune.devices import host
from perftune.emit import training_args_json, training_args_yaml
from perftune.errors import DeviceError, OutputWriteError, WorkloadError
from perftune.files import remove_unfinished, write_atomically
from perftune.planning.trace_cache import TraceCache
from perftune.planning.traces import tracing_runner
from perftune.records.candidate import Candidate
from perftune.records.probe import ProbeSpec
from perftune.records.recommendation import Recommendation
from perftune.records.study import Study
from perftune.records.survey import Survey, SurveyRequest
from perftune.records.trace import Trace, TraceRequest
from perftune.records.trial import Heartbeat, Purpose, Trial, TrialRequest
from perftune.renderers import html, markdown
from perftune.search import STRATEGIES, ModelSearch, Strategy, build_space, leader, winner
from perftune.spec import workload_source
from perftune.tuning.answer import recommend
from perftune.tuning.comparisons import compare, is_worth_it, runs
from perftune.tuning.directory import (
    STUDY,
    differences,
    move_aside,
    refuse_foreign_trials,
    refuse_if_different,
    stored_study,
)
from perftune.tuning.loop import Loop, Verified
from perftune.tuning.observer import Observer, SilentObserver
from perftune.tuning.prior import PriorTracer
from perftune.tuning.run_folder import OUTPUTS
from perftune.tuning.study_file import save_study


class Runner(Protocol):
    """What a study needs of a runner."""

    def run(self, request: TrialRequest, on_heartbeat: Callable[[Heartbeat], None] | None = None) -> Trial:
        """Run one trial."""

    def survey(self, request: SurveyRequest) -> Survey:
        """Look at the workload."""

    def round_trip(self, yaml_text: str) -> dict[str, Any]:
        """What transformers reads from a file."""

    def adopt(self, number: int) -> Trial | None:
        """A finished trial that is in no study yet."""

    def trace(self, request: TraceRequest, number: int) -> Trace:
        """Trace one variant of the workload."""


MODEL = "model"
"""The strategy that a prior helps."""
TRACE_SHARE = 0.1
"""Part of the budget's minutes for traces before the first trial."""
RunnerFactory = Callable[[Path], AbstractContextManager[Runner]]


def probe_study(
    probe: ProbeSpec,
    directory: Path,
    *,
    strategy: str = "model",
    observer: Observer | None = None,
    force: bool = False,
    prior: bool = True,
    runner: RunnerFactory = tracing_runner,
    cache: TraceCache | None = None,
) -> Study:
    """Run a probe to its recommendation, going on where an earlier run of the same command stopped.

    Args:
        probe: what to look into.
        directory: where ``study.json``, ``trials/`` and the answer go.
        strategy: a name of ``perftune.search.STRATEGIES``.
        observer: is told of everything.
        force: begin anew; what is in the folder is kept under another name.
        prior: predict memory and speed from traces first, so that fewer trials are needed; what is recommended is
            measured in any case. A study that goes on keeps what it has.
        runner: makes what runs trials, from the folder.
        cache: of traces that other runs have made; None neither reads nor keeps any.

    Raises:
        StudyMismatchError: the folder holds a study of another probe, device or software.
        OutputExistsError: another perftune is running there, or the folder holds trials of no study.
        WorkloadError: the workload cannot be built, or transformers refuses the written arguments.
        NoCandidateError: nothing completed.
        OutputWriteError: the folder cannot be written.
        KeyboardInterrupt: the user stopped it; what was measured is written.
    """
    try:
        return _probe_study(probe, directory, strategy, observer or SilentObserver(), force, prior, runner, cache)
    except OSError as error:
        raise OutputWriteError(
            f"{error.filename or directory}: cannot be written ({error.strerror or error}). Mend that and run the same "
            "command: finished trials are kept"
        ) from error


def _probe_study(
    probe: ProbeSpec,
    directory: Path,
    strategy: str,
    observer: Observer,
    force: bool,
    prior: bool,
    runner: RunnerFactory,
    cache: TraceCache | None,
) -> Study:
    if force and directory.exists():
        with runner(directory):  # it has the folder to itself, so nothing is moved from under another perftune
            move_aside(directory)
    with runner(directory) as running:
        for name in (STUDY, *OUTPUTS):
            remove_unfinished(directory / name)
        stored = stored_study(directory)
        if stored is None:
            refuse_foreign_trials(directory)
        else:
            refuse_if_different(differences(stored, probe, strategy), directory)
        observer.on_phase("survey", "building the workload once, reading its data")
        survey = _survey(running, probe)
        if stored is not None:
            refuse_if_different(differences(stored, probe, strategy, survey), directory)
            study = stored.model_copy(update={"probe": probe, "interrupted": False})
        else:
            study = _new_study(probe, survey, strategy)
            if prior and strategy == MODEL:
                study = _with_prior(study, running, cache, observer)
        return _run(study, directory, running, _strategy(strategy, probe), observer)


def _device_kind(probe: ProbeSpec) -> str:
    """``cuda`` where asked for or, with ``auto``, where the driver is; the child says why if it cannot be used."""
    if probe.target.device != "auto":
        return probe.target.device
    return "cuda" if Path("/proc/driver/nvidia/version").exists() and any(Path("/dev").glob("nvidia[0-9]*")) else "cpu"


def _survey(runner: Runner, probe: ProbeSpec) -> Survey:
    kind = _device_kind(probe)
    return runner.survey(
        SurveyRequest(
            workload=workload_source(probe),
            arguments=probe.training_arguments,
            global_batch_size=probe.global_batch_size,
            device=kind,
            num_devices=probe.target.count,
            knobs=probe.knobs,
        )
    )


def _with_memory(probe: ProbeSpec, survey: Survey) -> ProbeSpec:
    """The limit that the probe sets, or what the device has; for the CPU, what is available now."""
    limit = probe.target.memory_bytes
    if limit is None:
        limit = host.available_memory_bytes() if survey.device.kind == "cpu" else survey.device.memory_bytes
    elif limit > survey.device.memory_bytes:
        raise DeviceError(
            f"{probe.source_path}: target.memory is {limit:,} bytes, and {survey.device.name} has "
            f"{survey.device.memory_bytes:,}; name a smaller limit or leave it out"
        )
    return probe.model_copy(update={"target": probe.target.model_copy(update={"memory_bytes": limit})})


def _new_study(probe: ProbeSpec, survey: Survey, strategy: str) -> Study:
    return Study(
        probe=probe,
        probe_sha256=probe.sha256,
        survey=survey,
        space=build_space(_with_memory(probe, survey), survey),
        strategy=strategy,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _with_prior(study: Study, runner: Runner, cache: TraceCache | None, observer: Observer) -> Study:
    """Traces need no trial; where they do not work, the study goes on without and says so."""
    observer.on_phase("predict", "tracing the step on shapes, to know what may fit before anything is tried")
    tracer = PriorTracer(study.probe, study.survey, study.space, runner, cache)
    prior = tracer.run(TRACE_SHARE * study.probe.budget.minutes * 60)
    if prior is None:
        reason = tracer.failure or "no trace ended in time"
        notes = (*study.survey.notes, f"nothing was predicted before the first trial: {reason}")
        return study.model_copy(update={"survey": study.survey.model_copy(update={"notes": notes})})
    return study.model_copy(update={"space": study.space.model_copy(update={"prior": prior})})


def _strategy(name: str, probe: ProbeSpec) -> Strategy:
    if name == MODEL:
        return ModelSearch(probe.seed, worthwhile=probe.worthwhile)
    return STRATEGIES[name](probe.seed)


def _run(study: Study, directory: Path, runner: Runner, strategy: Strategy, observer: Observer) -> Study:
    loop = Loop(study, directory, runner, strategy, observer)
    save_study(study, directory / STUDY)
    _adopt(loop, runner)
    observer.on_survey(loop.study)
    if loop.study.recommendation is None:
        try:
            recommendation = _answer(loop)
        except KeyboardInterrupt:
            _write_interrupted(loop, directory)
            raise
        loop.study = loop.study.model_copy(update={"recommendation": recommendation})
    _write_answer(loop.study, directory, runner)
    observer.on_done(loop.study)
    return loop.study


def _adopt(loop: Loop, runner: Runner) -> None:
    number = max((trial.number for trial in loop.study.trials), default=0) + 1
    while (trial := runner.adopt(number)) is not None:
        loop.keep(trial)
        number += 1


def _ranking(study: Study, racers: Sequence[Candidate]) -> list[Candidate]:
    """Contenders that are worth it, best first by the race, or by the search without one; the user's own last."""
    objective = study.probe.objective
    first = winner(study.space, racers, study.trials, objective) or racers[0]
    raced = [candidate for candidate in racers if candidate not in (first, study.space.base)]
    ordered = [first, *(candidate for candidate in raced if candidate != first)]
    base_runs = bool(runs(study, study.space.base, Purpose.SEARCH, Purpose.RACE))
    better = [
        candidate
        for candidate in ordered
        if not base_runs or is_worth_it(compare(study, candidate, study.space.base), study.probe.worthwhile)
    ]
    return [candidate for candidate in better if candidate != study.space.base] + [study.space.base]


def _answer(loop: Loop) -> Recommendation:
    loop.search()
    racers = loop.race()
    ranking = _ranking(loop.study, racers)
    verified = loop.verify(ranking)
    if verified is not None:
        loop.find_eval_batch(verified.candidate)
    return recommend(loop.study, verified, ranking, loop.rejected)


def _write_answer(study: Study, directory: Path, runner: Runner) -> None:
    """The file is read back by transformers before it is there, so that what stands in the folder is known to load."""
    text = training_args_yaml(study)
    _check_round_trip(study, runner.round_trip(text))
    save_study(study, directory / STUDY)
    write_atomically(directory / "training_args.yaml", text)
    write_atomically(directory / "training_args.json", training_args_json(study))
    write_atomically(directory / "report.md", markdown.render(study))
    write_atomically(directory / "report.html", html.render(study))


def _check_round_trip(study: Study, read: dict[str, Any]) -> None:
    assert study.recommendation is not None
    wrong = [
        f"{name}: {read[name]!r} and not {value!r}"
        for name, value in study.recommendation.arguments.items()
        if name in read and isinstance(value, bool | int) and read[name] != value
    ]
    if wrong:
        raise WorkloadError(f"transformers reads the written arguments differently: {'; '.join(wrong)}")


def _write_interrupted(loop: Loop, directory: Path) -> None:
    """The best so far, said to be no more than that; the study goes on with the same command."""
    study = loop.study.model_copy(update={"interrupted": True})
    save_study(study, directory / STUDY)
    best = leader(study.space, study.trials, study.probe.objective)
    if best is None:
        return
    trial = next(trial for trial in reversed(study.completed(Purpose.SEARCH, Purpose.RACE)) if trial.candidate == best)
    recommendation = recommend(study, Verified(best, None, trial), [best], loop.rejected, is_final=False)
    notes = ("interrupted: the best so far, which ran but passed no final check", *recommendation.notes)
    partial = study.model_copy(
        update={"recommendation": recommendation.model_copy(update={"notes": notes, "final_trial": None})}
    )
    write_atomically(directory / "training_args.best_so_far.yaml", training_args_yaml(partial))
