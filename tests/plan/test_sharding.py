"""What each GPU of several holds."""

import numpy as np
import pytest

from perftune.plan.memory import allocated_peak
from perftune.plan.program import Part, Program
from perftune.plan.roofline import Seconds
from perftune.plan.sharding import SHARDINGS
from perftune.records.trace import Trace
from tests.plan.blocks import BLOCK, ROOT, blocks_program, lifetimes, named
from tests.plan.traces import step, trace

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
    assert program.base[bucket] == WHOLE


def test_only_fsdp_of_frozen_parameters_keeps_reentrant_inputs() -> None:
    def peak(name: str, made: Trace) -> int:
        return allocated_peak(SHARDINGS[name].program(blocks_program(), 2, made), 1).allocated_bytes

    once, again = frozen(is_reentrant=False), frozen(is_reentrant=True)
    assert named(SHARDINGS["fsdp"].program(blocks_program(), 2, again), "gradients of inputs")
    assert peak("zero3", again) == peak("zero3", once)
    trained = trace(step(2))
    assert peak("fsdp", trained.model_copy(update={"is_reentrant": True})) == peak("fsdp", trained)


def of_every_part() -> Program:
    """One allocation for each part, of 8, 16, 24, … bytes and half of that for every sample; all stay."""
    count = len(Part)
    base = 8.0 * np.arange(1, count + 1)
    return Program(np.arange(1, count + 1), base, base / 2, np.arange(count), [("", part.name) for part in Part])


STATE = {Part.OPTIMIZER_STATE, Part.OPTIMIZER_TEMPORARIES}


@pytest.mark.parametrize(
    ("name", "divided"),
    [
        ("none", set()),
        ("ddp", set()),
        ("zero1", STATE),
        ("zero2", STATE | {Part.GRADIENTS}),
        ("zero3", STATE | {Part.GRADIENTS, Part.PARAMETERS}),
        ("fsdp", STATE | {Part.PARAMETERS}),  # gradients are whole until their unit is done
    ],
)
def test_a_stage_divides_the_parts_that_it_shards(name: str, divided: set[Part]) -> None:
    whole = of_every_part()
    program = SHARDINGS[name].program(whole, 4, trace(step(2)))
    for part in Part:
        share = 4 if part in divided else 1
        assert (program.base[part], program.slope[part]) == (whole.base[part] / share, whole.slope[part] / share), part
    assert [what for _, what in program.maker[len(Part) :]] == (["ddp buckets"] if name == "ddp" else [])


@pytest.mark.parametrize(
    ("events", "gradients", "bucket_bytes"),
    [
        # Two steps, whose gradients are freed in between; number 0 is no gradient.
        ([1, 2, 3, -2, -3, 4, 5, -4, -5], {1: 3.0, 2: 5.0, 3: 3.0, 4: 5.0}, 8.0),
        # Gradients that zero_grad keeps are there once, for both steps.
        ([1, 2, 3, 4], {1: 3.0, 2: 5.0, 3: 7.0}, 15.0),
        ([1, 2], {1: 3.0}, 3.0),
        ([1], {}, 0.0),
    ],
)
def test_buckets_are_as_large_as_the_gradients_of_a_step(
    events: list[int], gradients: dict[int, float], bucket_bytes: float
) -> None:
    count = max(events)
    base = np.array([gradients.get(number, 100.0) for number in range(count)])
    parts = [Part.GRADIENTS if number in gradients else Part.PARAMETERS for number in range(count)]
    single = Program(np.array(events), base, np.zeros(count), np.array(parts, dtype=np.int64), [("", "")] * count)
    program = SHARDINGS["ddp"].program(single, 2, trace(step(2)))
    assert program.events.tolist() == [count + 1, *events], "they are there from the beginning on"
    assert (program.base[count], program.slope[count], program.part[count]) == (bucket_bytes, 0.0, Part.GRADIENTS)


@pytest.mark.parametrize(
    ("name", "times"), [("none", 0), ("ddp", 0), ("zero1", 0), ("zero2", 0), ("zero3", 2), ("fsdp", 2)]
)
def test_parameters_are_gathered_before_each_pass_from_the_third_stage_on(name: str, times: int) -> None:
    assert SHARDINGS[name].num_gathers == times
    program = SHARDINGS[name].program(blocks_program(), 4, trace(step(2)))
    sizes = sorted(float(program.base[number]) for number in named(program, "gathered parameters"))
    assert sizes == ([ROOT, *[BLOCK] * 4] if times else [])


def test_only_fsdp_has_gradients_that_are_whole_then_flat_then_a_shard() -> None:
    for name in SHARDINGS:
        program = SHARDINGS[name].program(blocks_program(), 4, trace(step(2)))
        flat = sorted(float(program.base[number]) for number in named(program, "flat gradients"))
        # The root's gradient comes last, with that of the first block.
        assert flat == ([BLOCK, BLOCK + ROOT] if name == "fsdp" else [])
    own = SHARDINGS["fsdp"].program(blocks_program(), 4, trace(step(2)))
    assert own.base[own.part == Part.GRADIENTS].sum() == WHOLE / 4


@pytest.mark.parametrize(
    ("name", "kernels"), [("ddp", 8.0), ("zero1", 2.0), ("zero2", 2.0), ("zero3", 2.0), ("fsdp", 2.0)]
)
def test_the_optimizer_steps_its_shard_and_the_host_launches_as_much(name: str, kernels: float) -> None:
    assert SHARDINGS[name].optimizer(Seconds(8.0, 3.0), 4) == Seconds(kernels, 3.0)


def test_all_but_the_first_stage_communicate_while_they_compute() -> None:
    assert {name for name, sharding in SHARDINGS.items() if not sharding.overlaps} == {"zero1"}
