"""What compiling costs at the start and gains in each step, to whether the user's run is long enough for it. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from perftune.records.candidate import COMPILE, Candidate
from perftune.records.probe import Objective
from perftune.records.study import Study
from perftune.records.summary import step_interval
from perftune.records.trial import Trial
from perftune.tuning.comparisons import runs
from perftune.tuning.heats import PAIRED
from perftune.units import format_seconds

MAX_STEPS, EPOCHS = "max_steps", "num_train_epochs"
STOCK = {MAX_STEPS: -1, EPOCHS: 3.0}
"""What TrainingArguments has when nothing is said (transformers/training_args.py): no length that anybody asked for."""


@dataclass(frozen=True)
class CompileCost:
    """Of a candidate that compiles beside the same that does not."""

    cost_seconds: float
    """Once, at the start."""
    gain_seconds: float
    """In each optimizer step; not above 0 where it gains nothing."""

    @property
    def num_steps(self) -> float:
        """Optimizer steps until the cost is paid back; infinite where it never is."""
        return math.ceil(self.cost_seconds / self.gain_seconds) if self.gain_seconds > 0 else math.inf

    def __str__(self) -> str:
        paid = f"paid back after {self.num_steps:,} steps" if self.gain_seconds > 0 else "not paid back"
        return f"compiling costs {format_seconds(self.cost_seconds)} at the start, {paid}"


def compile_cost(study: Study, candidate: Candidate, twin: Candidate) -> CompileCost | None:
    """What compiling costs and gains; None where the two did not run in heats.

    The worst batch is in the start, of one candidate as of the other.
    """
    compiled, eager = (runs(study, one, *PAIRED) for one in (candidate, twin))
    if not compiled or not eager:
        return None
    cost = max(0.0, _start_seconds(compiled) - _start_seconds(eager))
    return CompileCost(cost, _step_seconds(eager) - _step_seconds(compiled))


def _start_seconds(trials: Sequence[Trial]) -> float:
    """Of the wall time what neither building nor steps at their steady pace take."""
    found = [(t.wall_seconds, t.measurement) for t in trials if t.measurement is not None]
    return median(wall - m.build_seconds - len(m.steps) * step_interval(m).value for wall, m in found)


def _step_seconds(trials: Sequence[Trial]) -> float:
    return median(step_interval(t.measurement).value for t in trials if t.measurement is not None)


def steps_of_run(study: Study) -> int | None:
    """Optimizer steps of the user's own training; None where neither the probe nor the code says how long it is."""
    said = {**study.survey.arguments, **study.probe.training_arguments}
    num_steps, epochs = said.get(MAX_STEPS), said.get(EPOCHS)
    if isinstance(num_steps, int) and num_steps > 0:
        return num_steps
    is_said = EPOCHS in study.probe.training_arguments or epochs not in (None, STOCK[EPOCHS])
    if not is_said or not isinstance(epochs, int | float) or study.survey.num_samples is None:
        return None
    return math.ceil(epochs * math.ceil(study.survey.num_samples / study.space.global_batch_size))


def why_unpaid(study: Study, candidate: Candidate, twin: Candidate) -> str | None:
    """Why the user's own run is too short for compiling; None where it is not, or where that cannot be told."""
    num_steps, found = steps_of_run(study), compile_cost(study, candidate, twin)
    if study.probe.objective is Objective.PEAK_MEMORY or num_steps is None or found is None:
        return None
    return f"{found}, and your own training has {num_steps:,}" if found.num_steps > num_steps else None


def compiles(candidate: Candidate, base: Candidate) -> bool:
    """Whether the candidate compiles where the user's own does not."""
    return candidate.settings.get(COMPILE) is True and base.settings.get(COMPILE) is False
