"""A traced step becomes an estimate on a GPU: shared replays give what its own would; MFU is a part of a peak."""

from dataclasses import replace

import pytest

from perftune.catalogue import load_catalogue
from perftune.plan import Setup, Variant, estimate
from perftune.plan.calibration import CONTEXT_BYTES, workspace_bytes
from perftune.plan.estimate import ProgramKind
from perftune.plan.memory import replay
from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH, OPTIMIZER, PRECISION, Candidate
from perftune.records.gpu import Gpu
from perftune.units import GIB
from tests.plan.traces import step, trace

H100 = load_catalogue()["h100-80gb-sxm"]
SETTINGS = {MICRO_BATCH: 4, PRECISION: "bf16", CHECKPOINTING: False, OPTIMIZER: "adamw_torch"}
SETUP = Setup(global_batch_size=64)


def with_work(dtype: str, flops: float) -> Variant:
    """The step by hand, with products of a size that fills a GPU."""
    made = []
    for size in (2, 4):
        traced = step(size)
        ops = traced.tape.ops.model_copy(update={"dtype": (dtype,) * 4, "flops": (flops * size,) * 4})
        marks = {"micro_0": 0, "backward_0": 1, "micro_0_ends": 2, "micro_1": 2, "backward_1": 3, "micro_1_ends": 4}
        made.append(traced.model_copy(update={"tape": traced.tape.model_copy(update={"ops": ops, "op_marks": marks})}))
    found = trace(*made)
    (optimizer,) = found.optimizers
    assert optimizer.tape is not None
    marks = dict.fromkeys(("clip_0", "step_0", "step_0_ends", "clip_1", "step_1", "step_1_ends"), 0)
    tape = optimizer.tape.model_copy(update={"op_marks": marks})
    return Variant(found.model_copy(update={"optimizers": (optimizer.model_copy(update={"tape": tape}),)}))


def small(num_bytes: int) -> Gpu:
    """A GPU with so much memory beside its context."""
    return H100.model_copy(update={"memory_bytes": num_bytes + CONTEXT_BYTES["hopper"]})


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_mfu_is_a_part_of_the_peak_whatever_the_weights_are_in(dtype: str, precision: str) -> None:
    candidate = Candidate(settings={**SETTINGS, PRECISION: precision})
    time = estimate(with_work(dtype, 1e13), H100, candidate, SETUP).time
    assert time is not None
    assert time.mfu is not None
    assert 0.3 < time.mfu < 1


def test_recomputation_is_not_counted_as_use() -> None:
    plain, saving = (
        estimate(with_work("bf16", 1e13), H100, Candidate(settings={**SETTINGS, CHECKPOINTING: value}), SETUP).time
        for value in (False, True)
    )
    assert plain is not None
    assert saving is not None
    assert saving.step_seconds == plain.step_seconds
    assert saving.mfu == pytest.approx(plain.mfu / 2)


@pytest.mark.parametrize("capacity", [60 * 2**20, 64 * 2**20, 66 * 2**20, 68 * 2**20, 70 * 2**20, GIB])
def test_a_shared_replay_gives_what_the_gpus_own_would(capacity: int) -> None:
    variant = with_work("bf16", 1e9)
    kind = ProgramKind("adamw_torch", True, workspace_bytes("hopper"), "none", 1)
    own = replay(variant.program(4, kind), 4, capacity_bytes=capacity)
    shared = variant.peak(4, kind, capacity, expandable_segments=False)
    assert shared.reserved_bytes == own.reserved_bytes
    if own.reserved_bytes is not None:
        assert replace(shared, num_alloc_retries=0) == replace(own, num_alloc_retries=0)
    found = estimate(variant, small(capacity), Candidate(settings=SETTINGS), SETUP)
    assert found.fits is (own.reserved_bytes is not None)


def test_headroom_is_kept() -> None:
    variant, candidate = with_work("bf16", 1e9), Candidate(settings=SETTINGS)
    needed = estimate(variant, H100, candidate, SETUP).memory.device_bytes
    assert needed is not None
    gpu = H100.model_copy(update={"memory_bytes": int(needed * 1.05)})
    assert estimate(variant, gpu, candidate, SETUP).fits
    assert not estimate(variant, gpu, candidate, replace(SETUP, headroom=0.1)).fits
