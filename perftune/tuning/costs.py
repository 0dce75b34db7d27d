"""The trials so far to what the next ones will take of the user's time: heats, and trials that look at the loss."""

from collections.abc import Sequence
from statistics import median

from perftune.records.candidate import Candidate
from perftune.records.study import Study
from perftune.records.summary import step_interval
from perftune.records.trial import Purpose, Trial

WARMUP_STEPS = 2
"""Of a contender, before its first turn."""
SLICE_SECONDS, SLICE_SHARE = 1.0, 0.004
"""A slice of the contender in the middle is shorter than most disturbances, so that one spoils a round and not a heat;
and no more than this part of the budget."""


def heat_seconds(study: Study, field: Sequence[Candidate], num_rounds: int) -> float:
    """What a heat takes: everybody starts, builds and warms up, and then come the rounds."""
    step = median(step_seconds(study, candidate) for candidate in field)
    turn = max(step, slice_seconds(study))
    return len(field) * (start_seconds(study) + WARMUP_STEPS * step + num_rounds * turn)


def steps_seconds(study: Study, candidate: Candidate, num_steps: int) -> float:
    """What a trial of so many steps takes, its start included."""
    return start_seconds(study) + num_steps * step_seconds(study, candidate)


def start_seconds(study: Study) -> float:
    """What trials of the search took beside their steps: to start, build, and run the worst batch."""
    searched = [t for t in study.completed(Purpose.SEARCH) if t.measurement is not None]
    starts = [t.wall_seconds - sum(t.measurement.steps.step_seconds) for t in searched if t.measurement]
    return median(starts or [0.0])


def step_seconds(study: Study, candidate: Candidate) -> float:
    """An optimizer step of a candidate, as slow as the machine was; of one that never ran, the others' median."""
    return median(_steps(study.of(candidate)) or _steps(study.completed()) or [0.0])


def _steps(trials: Sequence[Trial]) -> list[float]:
    return [step_interval(trial.measurement).value for trial in trials if trial.measurement is not None]


def slice_seconds(study: Study) -> float:
    """How long the turn of the contender in the middle is meant to be."""
    return min(SLICE_SECONDS, SLICE_SHARE * study.probe.budget.minutes * 60)
