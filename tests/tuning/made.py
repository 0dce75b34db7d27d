"""Studies made by hand: which candidate ran in which heat, how fast, and with which peak."""

from collections.abc import Sequence
from typing import Any

from perftune.records.candidate import Candidate
from perftune.records.study import Study
from perftune.records.trial import Failure, Measurement, MemoryPeak, Outcome, Purpose, Slice, Steps, Trial
from perftune.search import build_space
from perftune.units import MIB
from tests.tuning.scripted import GLOBAL_BATCH, probe, survey


def empty_study(**changes: Any) -> Study:
    """Of the scripted probe, without a trial."""
    spec, seen = probe(**changes), survey()
    space = build_space(spec, seen)
    return Study(probe=spec, probe_sha256="0", survey=seen, space=space, strategy="model", created="2026-11-30")


def trial(
    number: int,
    candidate: Candidate,
    step_seconds: Sequence[float],
    *,
    heat: int | None = None,
    purpose: Purpose = Purpose.RACE,
    peak_mib: int = 500,
    in_turns: bool = True,
    **measured: Any,
) -> Trial:
    """A completed one; in a heat each of its steps is a slice of its own."""
    count = len(step_seconds)
    steps = Steps(
        step_seconds=tuple(step_seconds),
        data_seconds=(0.0,) * count,
        forward_seconds=tuple(0.4 * one for one in step_seconds),
        backward_seconds=tuple(0.5 * one for one in step_seconds),
        optimizer_seconds=tuple(0.1 * one for one in step_seconds),
        num_samples=(GLOBAL_BATCH,) * count,
        num_tokens=(GLOBAL_BATCH,) * count,
        num_padded_tokens=(GLOBAL_BATCH,) * count,
        loss=(1.0,) * count,
        grad_norm=(1.0,) * count,
    )
    slices = [Slice(round=n, first_step=n, num_steps=1, begun_monotonic_seconds=float(n)) for n in range(count)]
    measurement = Measurement(
        **{
            "steps": steps,
            "num_warmup_steps": 0,
            "memory": MemoryPeak(kind="resident", peak_bytes=peak_mib * MIB, start_bytes=0, train_bytes=peak_mib * MIB),
            "start_seconds": 0.0,
            "build_seconds": 1.0,
            "worst_batch_ran": True,
            "stopped_because": "heat_ended",
            "slices": tuple(slices) if heat is not None and in_turns else (),
            **measured,
        }
    )
    return Trial(
        number=number,
        purpose=purpose,
        candidate=candidate,
        outcome=Outcome.COMPLETED,
        measurement=measurement,
        wall_seconds=2.0 + sum(step_seconds),
        heat=heat,
    )


def failed(number: int, candidate: Candidate, *, heat: int | None = None, purpose: Purpose = Purpose.RACE) -> Trial:
    """One that ran out of memory."""
    return Trial(
        number=number,
        purpose=purpose,
        candidate=candidate,
        outcome=Outcome.OUT_OF_MEMORY,
        failure=Failure(kind=Outcome.OUT_OF_MEMORY, message="can't allocate memory"),
        wall_seconds=1.0,
        heat=heat,
    )


def heat(first: int, *ran: tuple[Candidate, Sequence[float]], purpose: Purpose = Purpose.RACE) -> list[Trial]:
    """Contenders that took turns, each with the seconds of its rounds."""
    return [
        trial(first + place, candidate, seconds, heat=first, purpose=purpose)
        for place, (candidate, seconds) in enumerate(ran)
    ]


def with_trials(study: Study, *trials: Trial) -> Study:
    """The study with these as well."""
    return study.model_copy(update={"trials": (*study.trials, *trials)})


def searched(*ran: tuple[Candidate, float], **changes: Any) -> Study:
    """The search has run these, with so many seconds a step."""
    trials = [trial(1 + n, one, (step,) * 4, purpose=Purpose.SEARCH) for n, (one, step) in enumerate(ran)]
    return with_trials(empty_study(**changes), *trials)
