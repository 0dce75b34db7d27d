"""A study to the errors of its predictions: what was said before the first trial, and what was measured then."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from perftune.records.candidate import Candidate
from perftune.records.study import Study
from perftune.records.summary import step_interval
from perftune.records.trial import Measurement, Purpose

COMPARED = (Purpose.SEARCH, Purpose.RACE, Purpose.ABLATION)
"""Trials that train and do nothing else: what is predicted."""


@dataclass(frozen=True)
class PredictedAndMeasured:
    """One candidate; of several runs the medians."""

    candidate: Candidate
    predicted_bytes: int
    measured_bytes: float
    predicted_seconds: float | None
    """Of an optimizer step; None where the device's rates were not known."""
    measured_seconds: float

    @property
    def memory_error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted_bytes / self.measured_bytes - 1

    @property
    def time_error(self) -> float | None:
        """The same of a step's seconds."""
        return None if self.predicted_seconds is None else self.predicted_seconds / self.measured_seconds - 1


def predicted_and_measured(study: Study) -> list[PredictedAndMeasured]:
    """Every candidate whose variant was traced and that completed, in the order of its first trial."""
    prior = study.space.prior
    if prior is None:
        return []
    runs: dict[str, list[Measurement]] = {}
    candidates: dict[str, Candidate] = {}
    for trial in study.completed(*COMPARED):
        assert trial.measurement is not None
        candidates[trial.candidate.key] = trial.candidate
        runs.setdefault(trial.candidate.key, []).append(trial.measurement)
    found = []
    for key, measurements in runs.items():
        predicted = prior.of(candidates[key].settings)
        if predicted is not None and predicted.is_traced:
            found.append(
                PredictedAndMeasured(
                    candidate=candidates[key],
                    predicted_bytes=predicted.peak_memory_bytes,
                    measured_bytes=median(m.memory.peak_bytes for m in measurements),
                    predicted_seconds=prior.step_seconds(predicted),
                    measured_seconds=median(step_interval(m).value for m in measurements),
                )
            )
    return found


def absolute_errors(errors: Sequence[float]) -> tuple[float, float]:
    """The median and the largest of the absolute errors."""
    sizes = [abs(error) for error in errors]
    return median(sizes), max(sizes)
