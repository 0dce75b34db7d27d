"""A probe and a folder to a finished study with its files: opened or gone on with, run phase by phase, written."""

import errno
import resource
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from threadpoolctl import threadpool_limits

from perftune.decisions import Answer
from perftune.emit import training_args_json, training_args_yaml
from perftune.errors import (
    IsolationError,
    OutputWriteError,
    PerftuneError,
    ProbeFileError,
    WorkloadError,
)
from perftune.files import remove_unfinished, write_atomically
from perftune.isolation.runner import TrialRunner
from perftune.planning.trace_cache import TraceCache
from perftune.planning.traces import tracing_runner
from perftune.records.candidate import Candidate
from perftune.records.probe import ProbeSpec
from perftune.records.recommendation import Recommendation
from perftune.records.study import Study
from perftune.records.survey import Survey, SurveyRequest
from perftune.records.trace import Trace, TraceRequest
from perftune.records.trial import Purpose, Trial
from perftune.reports import html, markdown, study_document
from perftune.search import STRATEGIES, ModelSearch, Strategy, build_space
from perftune.spec import workload_source
from perftune.tuning.answer import Standing, recommend
from perftune.tuning.checks import MORE_LOSS_STEPS, Verified, verify
from perftune.tuning.costs import heat_seconds
from perftune.tuning.directory import (
    STUDY,
    differences,
    move_aside,
    refuse_foreign_trials,
    refuse_if_different,
    stored_study,
)
from perftune.tuning.evaluating import find_eval_batch
from perftune.tuning.limits import left_out_of_shell, shared_memory, with_memory
from perftune.tuning.loop import Loop, minutes_text, says_nothing_of_its_candidate
from perftune.tuning.loss_steps import loss_seconds
from perftune.tuning.observer import Observer, SilentObserver
from perftune.tuning.prior import PriorTracer
from perftune.tuning.racing import LEAST_HEATS, MOST_HEATS, MOST_ROUNDS, TRIALS_SHARE, race, verdict
from perftune.tuning.run_folder import OUTPUTS
from perftune.tuning.searching import search
from perftune.tuning.spending import Spending
from perftune.tuning.study_file import save_study
from perftune.units import format_bytes


class Runner(TrialRunner, Protocol):
    """What a study needs of a runner."""

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
LIKELY = 0.3
"""With a smaller chance to be worth it an untried candidate does not keep the answer from being given."""
FEW_TRIALS = 6
"""Trials with which a search that had to end too early usually gets somewhere (benchmarks/search)."""
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
    clock: Callable[[], float] = time.monotonic,
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
        clock: monotonic seconds; the budget is counted on it.
        cache: of traces that other runs have made; None neither reads nor keeps any.

    Raises:
        ProbeFileError: there is no such strategy, or of a knob that the probe names no value can be used here.
        StudyMismatchError: the folder holds a study of another probe, device or software.
        OutputExistsError: another perftune is running there, or the folder holds trials of no study.
        WorkloadError: the workload cannot be built, trains with other arguments than it is given, or transformers
            refuses the written arguments.
        NoCandidateError: nothing completed, or the user's own do not run and nothing else passed.
        OutputWriteError: the folder cannot be written.
        IsolationError: the process that trials are forked from cannot start, or too many files are open.
        KeyboardInterrupt: the user stopped it; what was measured is written.
    """
    if strategy not in list(STRATEGIES):
        raise ProbeFileError(f"strategy: there is no {strategy!r}. Possible: {', '.join(STRATEGIES)}.")
    try:
        spending = Spending(probe.budget, clock=clock)
        opening = Opening(probe, directory, strategy, observer or SilentObserver(), force, prior, cache, spending)
        # The models' matrices are small. Where others compute, two threads of BLAS that wait for each other at every
        # step of a factorisation were seen to take fifty times as long as one.
        with threadpool_limits(limits=1, user_api="blas"):
            return _probe_study(opening, runner)
    except BrokenPipeError:
        raise  # of an observer, whose reader has gone; nothing here writes into a pipe without looking
    except OSError as error:
        raise _cannot_go_on(error, directory) from error


def _cannot_go_on(error: OSError, directory: Path) -> PerftuneError:
    """What the operating system refused."""
    then = "run the same command again: finished trials are kept"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return IsolationError(f"too many files are open: {most} are allowed. Raise that with `ulimit -n`, and {then}")
    said = f"{error.filename or directory}: cannot be written ({error.strerror or error})"
    return OutputWriteError(f"{said}. Mend that and {then}")


@dataclass(frozen=True)
class Opening:
    """What a study begins, or goes on, with."""

    probe: ProbeSpec
    directory: Path
    strategy: str
    observer: Observer
    force: bool
    prior: bool
    cache: TraceCache | None
    spending: Spending


def _probe_study(opening: Opening, runner: RunnerFactory) -> Study:
    directory = opening.directory
    if opening.force and directory.exists():
        with runner(directory):  # it has the folder to itself, so nothing is moved from under another perftune
            move_aside(directory)
    with runner(directory) as running:
        for name in (STUDY, *OUTPUTS):
            remove_unfinished(directory / name)
        study = _opened(opening, running)
        wants_prior = opening.prior and opening.strategy == MODEL and not study.trials
        tracer = PriorTracer(study.probe, study.survey, study.space, running, opening.cache) if wants_prior else None
        return _run(study, opening, running, tracer)


def _opened(opening: Opening, running: Runner) -> Study:
    """The study in the folder, or a new one."""
    probe, directory, strategy = opening.probe, opening.directory, opening.strategy
    stored = stored_study(directory)
    if stored is None:
        refuse_foreign_trials(directory)
    else:
        refuse_if_different(differences(stored, probe, strategy), directory)
        opening.spending.resume(stored.spent_seconds, stored.phase_seconds)
    opening.observer.on_phase("survey", "building the workload once, reading its data")
    with opening.spending.phase("survey"):
        survey = _survey(running, probe)
    if stored is None:
        return _new_study(probe, survey, strategy)
    refuse_if_different(differences(stored, probe, strategy, survey), directory)
    return stored.model_copy(update={"probe": probe, "interrupted": False})


def _device_kind(probe: ProbeSpec) -> str:
    """``cuda`` where asked for or, with ``auto``, where the driver is; the child says why if it cannot be used."""
    if probe.target.device != "auto":
        return probe.target.device
    return "cuda" if Path("/proc/driver/nvidia/version").exists() and any(Path("/dev").glob("nvidia[0-9]*")) else "cpu"


def _survey(runner: Runner, probe: ProbeSpec) -> Survey:
    kind = _device_kind(probe)
    found = runner.survey(
        SurveyRequest(
            workload=workload_source(probe),
            arguments=probe.training_arguments,
            global_batch_size=probe.global_batch_size,
            device=kind,
            num_devices=probe.target.count,
            knobs=probe.knobs,
        )
    )
    return found.model_copy(update={"notes": (*found.notes, *left_out_of_shell())})


def _new_study(probe: ProbeSpec, survey: Survey, strategy: str) -> Study:
    limited = with_memory(probe, survey)
    return Study(
        probe=probe,
        probe_sha256=probe.sha256,
        survey=survey.model_copy(update={"notes": (*survey.notes, *shared_memory(limited, survey))}),
        space=build_space(limited, survey),
        strategy=strategy,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _strategy(name: str, probe: ProbeSpec) -> Strategy:
    if name == MODEL:
        return ModelSearch(probe.seed, worthwhile=probe.worthwhile)
    return STRATEGIES[name](probe.seed)


def _run(study: Study, opening: Opening, runner: Runner, tracer: PriorTracer | None) -> Study:
    directory, observer = opening.directory, opening.observer
    strategy = _strategy(opening.strategy, study.probe)
    loop = Loop(study, directory, runner, strategy, observer, opening.spending)
    loop.save()
    _adopt(loop, runner)
    observer.on_survey(loop.study)
    if not loop.study.is_finished:
        try:
            recommendation = _answer(loop, tracer)
        except KeyboardInterrupt:
            _write_interrupted(loop, directory)
            raise
        loop.study = loop.study.model_copy(update={"recommendation": recommendation})
        loop.save()
    _write_answer(loop.study, directory, runner)
    observer.on_done(loop.study)
    return loop.study


def _adopt(loop: Loop, runner: Runner) -> None:
    number = max((trial.number for trial in loop.study.trials), default=0) + 1
    while (trial := runner.adopt(number)) is not None and not says_nothing_of_its_candidate(trial):
        loop.keep(trial)
        number += 1


def ranking(study: Study, racers: Sequence[Candidate]) -> list[Candidate]:
    """Contenders that are better than the user's own, best first, and the user's own last.

    Where the user's own do not run, all that do, best guess first.
    """
    base = study.space.base
    if base not in racers:
        best = verdict(study, racers)
        return sorted(racers, key=lambda candidate: best is None or candidate.key != best.best)
    better: list[Candidate] = []
    left = list(racers)
    while (said := verdict(study, left)) is not None and said.answer is Answer.TUNED:
        best_now = next(candidate for candidate in left if candidate.key == said.best)
        better.append(best_now)
        left.remove(best_now)
    return [*better, base]


def _answer(loop: Loop, tracer: PriorTracer | None) -> Recommendation:
    search(loop, tracer)
    racers = race(loop)
    ranked = ranking(loop.study, racers)
    verified = verify(loop, ranked)
    if verified is not None:
        find_eval_batch(loop, verified.candidate)
    return recommend(loop.study, verified, ranked, loop.rejected, standing(loop, racers))


def standing(loop: Loop, racers: Sequence[Candidate]) -> Standing:
    """Where the race stands when there is no time left, and what would decide it."""
    study = loop.study
    said = verdict(study, racers)
    pair = [candidate for candidate in racers if said is None or candidate.key in (said.best, study.space.base.key)]
    untold = loop.untold[0] if loop.untold else None
    if untold is not None:
        more = loss_seconds(loop, MORE_LOSS_STEPS) + loop.final_seconds()
    elif said is not None and said.answer is Answer.NOT_DECIDED:
        more = (said.more_heats or MOST_HEATS) * heat_seconds(loop.study, pair[:2], MOST_ROUNDS)
    elif said is None and len(racers) > 1:
        more = LEAST_HEATS * heat_seconds(loop.study, pair[:2], MOST_ROUNDS)
    else:
        more = FEW_TRIALS * loop.trial_seconds()
    needs = f"about {minutes_text(more)} more"
    if not loop.has_trials_left(2, TRIALS_SHARE[Purpose.RACE]):
        needs = f"more trials than the {study.probe.budget.trials} of budget.trials"
    if untold is not None:
        needs += f", to compare its loss over {MORE_LOSS_STEPS} steps,"
    is_over = not _has_likely_gain(study) and (said is not None or len(racers) < 2)
    no_room = loop.no_room
    if no_room is not None:
        needs = f"about {format_bytes(no_room.needed_bytes)} of free disk space in {loop.directory}, for a checkpoint,"
        return Standing(said, is_over, needs, no_room.candidate, needs_disk=True)
    return Standing(said, is_over, needs, untold)


def _has_likely_gain(study: Study) -> bool:
    """Whether a candidate was left untried that is likely enough to be better for the answer to depend on it.

    Only the models know; the other strategies are there to be compared with.
    """
    doubtful = ModelSearch(study.probe.seed, worthwhile=study.probe.worthwhile, chance=LIKELY)
    return study.strategy == MODEL and doubtful.propose(study.space, study.trials, study.probe.objective) is not None


def _write_answer(study: Study, directory: Path, runner: Runner) -> None:
    """The file is read back by transformers before it is there, so that what stands in the folder is known to load."""
    text = training_args_yaml(study)
    _check_round_trip(study, runner.round_trip(text))
    save_study(study, directory / STUDY)
    write_atomically(directory / "training_args.yaml", text)
    write_atomically(directory / "training_args.json", training_args_json(study))
    document = study_document(study)
    write_atomically(directory / "report.md", markdown.render(document))
    write_atomically(directory / "report.html", html.render(document))


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
    best = loop.leader()
    if best is None:
        return
    trial = next(trial for trial in reversed(study.completed()) if trial.candidate == best)
    recommendation = recommend(study, Verified(best, None, trial), [best], loop.rejected)
    notes = ("interrupted: the best so far, which ran but passed no final check", *recommendation.notes)
    partial = study.model_copy(
        update={"recommendation": recommendation.model_copy(update={"notes": notes, "final_trial": None})}
    )
    write_atomically(directory / "training_args.best_so_far.yaml", training_args_yaml(partial))
