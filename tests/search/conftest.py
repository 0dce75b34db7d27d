"""Made-up worlds, and trials written by hand."""

from collections.abc import Callable

import pytest

from perftune.records.candidate import Candidate, Knob, Space
from perftune.records.trial import Failure, Measurement, MemoryPeak, Outcome, Purpose, Steps, Trial

GIB = 2**30


def make_trial(
    number: int,
    candidate: Candidate,
    seconds: float = 1.0,
    *,
    outcome: Outcome = Outcome.COMPLETED,
    peak_bytes: int = GIB,
    purpose: Purpose = Purpose.SEARCH,
    optimizer_share: float = 0.2,
) -> Trial:
    """One trial: four equal steps of so many seconds, or a failure."""
    if outcome is not Outcome.COMPLETED:
        failure = Failure(kind=outcome, message=outcome.value)
        return Trial(
            number=number, purpose=purpose, candidate=candidate, outcome=outcome, failure=failure, wall_seconds=2.0
        )
    parts = {"data": 0.01, "forward": 0.25, "backward": 0.7 - optimizer_share, "optimizer": optimizer_share}
    series = {f"{name}_seconds": (share * seconds,) * 4 for name, share in parts.items()}
    steps = Steps(
        step_seconds=(seconds,) * 4,
        **series,
        num_samples=(16,) * 4,
        num_tokens=(1600,) * 4,
        num_padded_tokens=(2000,) * 4,
        loss=(1.0,) * 4,
        grad_norm=(None,) * 4,
    )
    memory = MemoryPeak(kind="resident", peak_bytes=peak_bytes, start_bytes=GIB // 2, train_bytes=peak_bytes)
    measurement = Measurement(
        steps=steps,
        num_warmup_steps=0,
        memory=memory,
        start_seconds=0.03,
        build_seconds=0.5,
        stopped_because="max_steps",
    )
    return Trial(
        number=number,
        purpose=purpose,
        candidate=candidate,
        outcome=outcome,
        measurement=measurement,
        wall_seconds=4 * seconds + 1,
    )


@pytest.fixture
def trial() -> Callable[..., Trial]:
    """Builds a trial by hand."""
    return make_trial


@pytest.fixture
def space() -> Space:
    """Forty candidates."""
    knobs = (
        Knob(name="per_device_train_batch_size", values=(4, 1, 2, 8, 16)),
        Knob(name="precision", values=("fp32", "bf16")),
        Knob(name="activation_checkpointing", values=(False, True)),
        Knob(name="optim", values=("adamw_torch", "adamw_torch_fused")),
    )
    return Space(
        knobs=knobs,
        base=Candidate(settings={knob.name: knob.values[0] for knob in knobs}),
        global_batch_size=16,
        memory_limit_bytes=4 * GIB,
        headroom=0.1,
    )
