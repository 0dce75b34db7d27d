"""A trial to the few words that progress is told in."""

from perftune.records.candidate import MICRO_BATCH, Candidate
from perftune.records.study import Study
from perftune.records.summary import samples_per_second
from perftune.records.trial import Trial
from perftune.units import format_bytes, format_rate, format_seconds

MAX_CHARACTERS = 140


def settings(candidate: Candidate, base: Candidate) -> str:
    """The micro-batch, and what else differs from the user's own."""
    changed = [
        str(value) if name in {"precision", "optim"} else f"{name}={value}"
        for name, value in candidate.settings.items()
        if name != MICRO_BATCH and base.settings.get(name) != value
    ]
    own = " (yours)" if candidate == base else ""
    return one_line(", ".join([f"micro-batch {candidate.micro_batch}", *changed]) + own)


def rate(trial: Trial) -> str:
    """Samples per second, or how it ended."""
    if trial.measurement is None:
        return trial.outcome.value.replace("_", " ")
    return format_rate(samples_per_second(trial.measurement), "samples")


def memory(trial: Trial) -> str:
    """Peak memory, where it is known."""
    if trial.measurement is not None:
        return format_bytes(trial.measurement.memory.peak_bytes)
    peak = trial.failure.peak_bytes if trial.failure else None
    return "–" if peak is None else format_bytes(peak)


def trial_line(study: Study, trial: Trial) -> str:
    """One line: number, purpose, settings, result, cost."""
    parts = [rate(trial)]
    parts += [memory(trial)] if memory(trial) != "–" else []
    parts += [one_line(trial.failure.message)] if trial.failure else []
    parts.append(f"took {format_seconds(trial.wall_seconds)}")
    return (
        f"trial {trial.number} {trial.purpose.value}: {settings(trial.candidate, study.space.base)}: {', '.join(parts)}"
    )


def one_line(text: str) -> str:
    """Printable, on one line, not too long."""
    flat = "".join(character if character.isprintable() else " " for character in text)
    return flat if len(flat) <= MAX_CHARACTERS else flat[: MAX_CHARACTERS - 1] + "…"
