"""A trial to the few words that progress is told in, the same that reports use."""

from perftune.records.candidate import Candidate
from perftune.records.study import Study
from perftune.records.summary import samples_per_second
from perftune.records.trial import Trial
from perftune.reports.words import bytes_cell, clean, settings
from perftune.units import format_rate, format_seconds

MAX_CHARACTERS = 140


def one_line(text: str) -> str:
    """Printable, on one line, not too long."""
    return clean(text, MAX_CHARACTERS)


def changes(candidate: Candidate, study: Study) -> str:
    """The micro-batch, and what else differs from the user's own."""
    return one_line(settings(candidate, study.space.base))


def rate(trial: Trial) -> str:
    """Samples per second, or how it ended."""
    if trial.measurement is None:
        return trial.outcome.value.replace("_", " ")
    return format_rate(samples_per_second(trial.measurement), "samples")


def memory(trial: Trial) -> str:
    """Peak memory, where it is known."""
    if trial.measurement is not None:
        return bytes_cell(trial.measurement.memory.peak_bytes).text
    return bytes_cell(trial.failure.peak_bytes if trial.failure else None).text


def trial_line(study: Study, trial: Trial) -> str:
    """One line: number, purpose, settings, result, cost."""
    parts = [rate(trial)]
    parts += [memory(trial)] if memory(trial) != bytes_cell(None).text else []
    parts += [one_line(trial.failure.message)] if trial.failure else []
    parts.append(f"took {format_seconds(trial.wall_seconds)}")
    return f"trial {trial.number} {trial.purpose.value}: {changes(trial.candidate, study)}: {', '.join(parts)}"
