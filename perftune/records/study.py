"""The ordered trials of one probe on one device: append-only, and the one record that all else is rendered from."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from perftune.errors import StudyFileError
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

    def with_trial(self, trial: Trial) -> "Study":
        """The study with one more trial.

        Raises:
            ValueError: the number is taken.
        """
        if any(known.number == trial.number for known in self.trials):
            raise ValueError(f"trial {trial.number} is in the study")
        return self.model_copy(update={"trials": (*self.trials, trial)})

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


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that a reader, or a crash at any moment, sees the old or the new text whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def remove_unfinished(path: Path) -> None:
    """Remove what `write_atomically` leaves of a file when it is killed; nobody else may be writing it."""
    for fresh in path.parent.glob(f".{path.name}.*"):
        if fresh.suffix[1:].isdecimal():
            fresh.unlink(missing_ok=True)


def save_study(study: Study, path: Path) -> None:
    """Write a study whole or not at all."""
    write_atomically(path, study.model_dump_json(indent=1) + "\n")


def load_study(path: Path) -> Study:
    """Read a study.

    Raises:
        StudyFileError: the file is missing, not JSON, not a study, or from a newer perftune.
    """
    try:
        return Study.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyFileError(f"{path}: cannot be read ({error.strerror}); name the study.json of a probe") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise StudyFileError(f"{path}: not a study of format {FORMAT_VERSION} ({error})") from error
