"""Completed trials become points for the models: log seconds of each part of a step, and how far to trust them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from perftune.records.disturbance import undisturbed
from perftune.records.probe import Objective
from perftune.records.summary import score, steady, step_interval, step_speedup
from perftune.records.trial import Steps, Trial
from perftune.search.encoding import Encoding, Floats

PARTS = ("data", "compute", "optimizer", "rest")
"""What an optimizer step is made of: waiting for data, forward and backward, the update, and everything else."""

SMALLEST_PART = 1e-4
"""Parts below this share of the step are taken as this share, so that their logarithm exists."""


@dataclass(frozen=True)
class Observation:
    """One completed trial, as the time model sees it."""

    row: int
    """Number of the candidate in the encoding."""
    log_parts: Floats
    """Natural logarithms of seconds per optimizer step, in the order of `PARTS`."""
    spread: float
    """Standard error of the median step, as a part of it."""
    log_build_seconds: float | None
    """The same work in every trial, so it tells the speed of the machine; None when it was not measured."""
    clock_seconds: float
    """Middle of the trial on a clock that runs while trials run."""

    @property
    def log_total(self) -> float:
        """Logarithm of the seconds per optimizer step."""
        return float(np.log(np.exp(self.log_parts).sum()))


def observe(encoding: Encoding, trials: Sequence[Trial], objective: Objective) -> list[Observation]:
    """The completed trials of candidates in the encoding, in order.

    Total time is relative to the first completed trial, compared step by step where both saw the same data, so that
    steps of unequal length cancel; where the order of the data is a knob, scores are compared.
    """
    observations: list[Observation] = []
    reference: Trial | None = None
    clock = 0.0
    same_data = "train_sampling_strategy" not in encoding.names
    for trial in trials:
        clock += trial.wall_seconds
        row = encoding.number(trial.candidate)
        if trial.measurement is None or row is None:
            continue
        trial = trial.model_copy(update={"measurement": undisturbed(trial.measurement)})
        assert trial.measurement is not None
        reference = reference or trial
        steps = steady(trial.measurement)
        log_parts = math.log(_total_seconds(trial, reference, objective, same_data)) + _log_shares(steps)
        build = trial.measurement.build_seconds
        observations.append(
            Observation(
                row=row,
                log_parts=log_parts,
                spread=_spread(steps),
                log_build_seconds=math.log(build) if build > 0 else None,
                clock_seconds=clock - trial.wall_seconds / 2,
            )
        )
    return observations


def _total_seconds(trial: Trial, reference: Trial, objective: Objective, same_data: bool) -> float:
    assert trial.measurement is not None
    assert reference.measurement is not None
    seconds = step_interval(reference.measurement).value
    if same_data or objective is Objective.PEAK_MEMORY:
        return seconds / step_speedup(trial.measurement, reference.measurement)
    return seconds * score(reference, objective) / score(trial, objective)


def _log_shares(steps: Steps) -> Floats:
    """Logarithms of the parts of a step, as shares that sum to one (medians over steps)."""
    data = _share(steps, steps.data_seconds)
    optimizer = _share(steps, steps.optimizer_seconds)
    compute = _share(steps, tuple(f + b for f, b in zip(steps.forward_seconds, steps.backward_seconds, strict=True)))
    if compute == 0:
        compute = 1 - data - optimizer
    shares = np.array([data, compute, optimizer, 1 - data - compute - optimizer])
    shares = np.maximum(shares, SMALLEST_PART)
    logs: Floats = np.log(shares / shares.sum())
    return logs


def _share(steps: Steps, seconds: tuple[float, ...]) -> float:
    return median(part / whole for part, whole in zip(seconds, steps.step_seconds, strict=True))


def _spread(steps: Steps) -> float:
    """Standard error of the median: 1.2533 σ / √n for normal values, σ from the median absolute deviation."""
    seconds = steps.step_seconds
    centre = median(seconds)
    deviation = 1.4826 * median(abs(value - centre) for value in seconds)
    return min(1.2533 * deviation / centre / math.sqrt(len(seconds)), 0.3)
