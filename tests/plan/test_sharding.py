"""What each GPU of several holds, and what the links cost."""

import pytest

from perftune.catalogue import load_catalogue
from perftune.plan.calibration import COLLECTIVE_SECONDS
from perftune.plan.communication import communication_seconds
from perftune.plan.memory import allocated_peak
from perftune.plan.program import Part
from perftune.plan.roofline import Seconds
from perftune.plan.sharding import SHARDINGS
from perftune.records.trace import Trace
from tests.plan.blocks import BLOCK, ROOT, blocks_program, lifetimes, named
from tests.plan.traces import step, trace

A100 = load_catalogue()["a100-80gb-sxm"]
WHOLE = ROOT + 2 * BLOCK


def frozen(*, is_reentrant: bool) -> Trace:
    made = trace(step(2))
    return made.model_copy(update={"trainable_bytes": 1, "is_reentrant": is_reentrant})


@pytest.mark.parametrize("name", SHARDINGS)
def test_one_gpu_holds_everything(name: str) -> None:
    program = blocks_program()
    assert SHARDINGS[name].program(program, 1, trace(step(2))) is program


@pytest.mark.parametrize("name", SHARDINGS)
@pytest.mark.parametrize("is_reentrant", [False, True])
def test_every_allocation_of_several_gpus_is_made_and_freed_once(name: str, is_reentrant: bool) -> None:
    single = blocks_program()
    program = SHARDINGS[name].program(single, 4, frozen(is_reentrant=is_reentrant))
    found = lifetimes(program)
    assert len(found) == len(program.base) >= len(single.base)
    assert all(end is None or begin < end for begin, end in found.values())


@pytest.mark.parametrize(("name", "share"), [("ddp", 1), ("zero1", 1), ("zero2", 1), ("zero3", 4), ("fsdp", 4)])
def test_parameters_are_divided_from_the_third_stage_on(name: str, share: int) -> None:
    program = SHARDINGS[name].program(blocks_program(), 4, trace(step(2)))
    own = (program.part == Part.PARAMETERS) & [what != "gathered parameters" for _, what in program.maker]
    assert program.base[own].sum() == pytest.approx(WHOLE / share)


def test_data_parallel_gradients_have_a_copy_in_buckets() -> None:
    program = SHARDINGS["ddp"].program(blocks_program(), 2, trace(step(2)))
    (bucket,) = named(program, "ddp buckets")
    assert 0 < program.base[bucket] <= WHOLE


def test_only_fsdp_of_frozen_parameters_keeps_reentrant_inputs() -> None:
    def peak(name: str, made: Trace) -> int:
        return allocated_peak(SHARDINGS[name].program(blocks_program(), 2, made), 1).allocated_bytes

    once, again = frozen(is_reentrant=False), frozen(is_reentrant=True)
    assert named(SHARDINGS["fsdp"].program(blocks_program(), 2, again), "gradients of inputs")
    assert peak("zero3", again) == peak("zero3", once)
    trained = trace(step(2))
    assert peak("fsdp", trained.model_copy(update={"is_reentrant": True})) == peak("fsdp", trained)


def test_one_gpu_and_an_unknown_link_add_nothing() -> None:
    apart = A100.model_copy(update={"link": None})
    for gpu, count in ((A100, 1), (apart, 4)):
        assert communication_seconds(SHARDINGS["fsdp"], trace(step(2)), gpu, count, 1, Seconds(1.0, 0.1)) == 0


def test_gathering_takes_the_host_and_shows_where_the_gpu_waits_for_it() -> None:
    made, sharding = trace(step(2)), SHARDINGS["fsdp"]
    hidden = communication_seconds(sharding, made, A100, 2, 1, Seconds(1.0, 0.0))
    shown = communication_seconds(sharding, made, A100, 2, 1, Seconds(1.0, 1.0))
    assert hidden < COLLECTIVE_SECONDS < shown


def test_a_slower_link_costs_more() -> None:
    assert A100.link is not None
    slow = A100.model_copy(update={"link": A100.link.model_copy(update={"bytes_per_second": 1e9})})
    busy = Seconds(1.0, 0.5)
    fast_seconds, slow_seconds = (
        communication_seconds(SHARDINGS["ddp"], trace(step(2)), gpu, 2, 1, busy) for gpu in (A100, slow)
    )
    assert 0 < fast_seconds < slow_seconds


def test_the_first_stage_communicates_when_nothing_is_computed() -> None:
    ddp, zero = (
        communication_seconds(SHARDINGS[name], trace(step(2)), A100, 2, 1, Seconds(1.0, 0.5))
        for name in ("ddp", "zero1")
    )
    assert ddp < zero
