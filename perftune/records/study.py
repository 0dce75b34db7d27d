"""The ordered trials of one probe on one device: append-only, and the one record that all else is rendered from."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from perftune.records.base import Record
from perftune.records.candidate import Candidate, Space
from perftune.records.probe import ProbeSpec
from perftune.records.recommendation import Recommendation
from perftune.records.summary import samples_per_second, step_interval, tokens_per_second
from perftune.records.survey import Survey
from perftune.records.trial import Outcome, Purpose, Trial

if TYPE_CHECKING:
    import pandas as pd

FORMAT_VERSION = 1
"""History: 1 (0.1.0) the first."""


class Study(Record):
    """Everything that one probe measured on one device."""

    format_version: int = FORMAT_VERSION
    probe: ProbeSpec
    probe_sha256: str
    survey: Survey
    space: Space
    strategy: str
    trials: tuple[Trial, ...] = ()
    recommendation: Recommendation | None = None
    created: str
    """UTC, ISO 8601."""
    interrupted: bool = False
    spent_seconds: float = 0.0
    """Of the user's time, over all sittings; 0 in studies that were made before it was kept."""
    phase_seconds: dict[str, float] = Field(default_factory=dict)
    """What of it each phase took: ``survey``, ``traces``, ``search``, ``turns``, ``checks``."""

    def with_trial(self, trial: Trial) -> "Study":
        """The study with one more trial.

        Raises:
            ValueError: the number is taken.
        """
        if any(known.number == trial.number for known in self.trials):
            raise ValueError(f"trial {trial.number} is in the study")
        return self.model_copy(update={"trials": (*self.trials, trial)})

    @property
    def is_finished(self) -> bool:
        """Whether its answer stands; else the same command goes on with it."""
        return self.recommendation is not None and not self.recommendation.needs_disk

    def completed(self, *purposes: Purpose) -> list[Trial]:
        """Completed trials, of the given purposes or of all."""
        return [
            trial
            for trial in self.trials
            if trial.outcome is Outcome.COMPLETED and (not purposes or trial.purpose in purposes)
        ]

    def of(self, candidate: Candidate) -> list[Trial]:
        """Every trial of a candidate, in order."""
        return [trial for trial in self.trials if trial.candidate.key == candidate.key]

    def to_pandas(self) -> "pd.DataFrame":
        """One row a trial, by number: settings by knob, outcome, figures in bytes, seconds and per second."""
        # Not above: it costs more to import than all of perftune's own side.
        import pandas as pd

        return (
            pd.DataFrame([{**_row(trial), **_predicted(self.space, trial)} for trial in self.trials]).set_index(
                "number"
            )
            if self.trials
            else pd.DataFrame()
        )


def _row(trial: Trial) -> dict[str, Any]:
    row: dict[str, Any] = {"number": trial.number, "purpose": trial.purpose.value, **trial.candidate.settings}
    row |= {"outcome": trial.outcome.value, "message": trial.failure.message if trial.failure else None}
    row |= {"samples_per_second": None, "tokens_per_second": None, "step_seconds": None, "num_steps": None}
    row |= {
        "peak_memory_bytes": trial.failure.peak_bytes if trial.failure else None,
        "wall_seconds": trial.wall_seconds,
    }
    if trial.measurement is not None:
        row |= {
            "samples_per_second": samples_per_second(trial.measurement),
            "tokens_per_second": tokens_per_second(trial.measurement),
            "step_seconds": step_interval(trial.measurement).value,
            "num_steps": len(trial.measurement.steps),
            "peak_memory_bytes": trial.measurement.memory.peak_bytes,
        }
    return row


def _predicted(space: Space, trial: Trial) -> dict[str, Any]:
    """What traces said of the candidate before the first trial."""
    predicted = space.prior.of(trial.candidate.settings) if space.prior else None
    return {
        "predicted_peak_memory_bytes": predicted.peak_memory_bytes if predicted else None,
        "predicted_step_seconds": space.prior.step_seconds(predicted) if space.prior and predicted else None,
    }
