"""Units are whole only while they are needed, in pools of their own, and gradients only until they are scattered."""

import gc
import weakref

import pytest
import torch
from torch.autograd.graph import register_multi_grad_hook
from torch.utils.checkpoint import checkpoint

from perftune.plan.gathering import (
    POST_BACKWARD_STREAM,
    UNSHARD_STREAM,
    backward_spans,
    block_of,
    forward_spans,
    gathered,
    kept_inputs,
    scattered,
    unit_bytes,
)
from perftune.plan.memory import allocated_peak, replay
from perftune.plan.program import Part
from tests.plan.blocks import BLOCK, HIDDEN, ROOT, blocks_program, lifetimes, named


@pytest.mark.parametrize(
    ("module", "block"),
    [("model.layers.3.mlp", ("model.layers", "3")), ("layers.12", ("layers", "12")), ("model.norm", None), ("", None)],
)
def test_a_block_is_an_element_of_an_outermost_list(module: str, block: tuple[str, str] | None) -> None:
    assert block_of(module) == block


def test_a_size_that_every_block_has_is_the_blocks() -> None:
    assert unit_bytes(blocks_program()) == (ROOT, BLOCK)


def test_spans_follow_one_another_there_and_back() -> None:
    program = blocks_program()
    (step,) = program.micro_steps
    there, back = forward_spans(program, step), backward_spans(program, step)
    assert [program.events[span.begin] for span in there] == [5, 6]
    assert [program.events[span.begin] for span in back] == [-6, -5]
    assert there[0].end == there[1].begin
    assert (there[1].end, back[1].end) == (step.turn, step.end)


def test_the_next_unit_is_gathered_while_one_computes_backward() -> None:
    program = gathered(blocks_program(), ROOT, BLOCK)
    units = named(program, "gathered parameters")
    alive = lifetimes(program)
    assert {program.stream[number] for number in units} == {UNSHARD_STREAM}
    assert program.lent == set(units)
    root, *blocks = sorted(units, key=lambda number: program.base[number])
    assert all(alive[root][0] < alive[number][0] < (alive[number][1] or 0) < (alive[root][1] or 0) for number in blocks)
    at_once = [sum(alive[n][0] <= place < (alive[n][1] or 0) for n in blocks) for place in range(len(program.events))]
    turn = program.micro_steps[0].turn
    assert (max(at_once[:turn]), max(at_once[turn:])) == (1, 2)


def test_gradients_are_whole_until_their_unit_is_done() -> None:
    program = scattered(blocks_program(), 4)
    alive, shards = lifetimes(program), named(program, "gradients")
    assert program.part[[8, 10, 11]].tolist() == [Part.TEMPORARIES] * 3
    assert sorted(program.base[shards]) == [BLOCK / 4, (BLOCK + ROOT) / 4]
    assert {program.stream[number] for number in shards} == {POST_BACKWARD_STREAM}
    first = alive[10][0]
    assert (alive[8][1] or 0) < first
    assert all(alive[number][1] is not None for number in shards)
    at_the_end = allocated_peak(program, 1).parts
    assert (
        at_the_end["gradients"] + at_the_end["temporaries"] < allocated_peak(blocks_program(), 1).parts["gradients"] * 2
    )


def test_inputs_of_blocks_and_their_gradients_stay_until_the_backward_pass_is_over() -> None:
    plain, kept = blocks_program(), kept_inputs(blocks_program())
    (step,) = kept.micro_steps
    alive, extra = lifetimes(kept), named(kept, "gradients of inputs")
    assert kept.base[extra].tolist() == [HIDDEN, HIDDEN]
    assert all((alive[number][1] or 0) >= step.end for number in (4, 5, *extra))
    assert lifetimes(plain)[3][1] is not None
    assert allocated_peak(kept, 1).allocated_bytes > allocated_peak(plain, 1).allocated_bytes


def test_pools_of_their_own_reserve_more() -> None:
    program = scattered(gathered(blocks_program(), ROOT, BLOCK), 2)
    apart, together = replay(program, 1), replay(blocks_program(), 1)
    assert apart.reserved_bytes is not None
    assert together.reserved_bytes is not None
    assert apart.reserved_bytes - apart.allocated_bytes > together.reserved_bytes - together.allocated_bytes


@pytest.mark.parametrize("reentrant", [True, False])
def test_torch_keeps_inputs_with_a_hook_under_reentrant_checkpointing(reentrant: bool) -> None:
    inputs: list[weakref.ref[torch.Tensor]] = []
    handles = []

    def block(hidden: torch.Tensor) -> torch.Tensor:
        if hidden.requires_grad and torch.is_grad_enabled():
            inputs.append(weakref.ref(hidden))
            handles.append(register_multi_grad_hook([hidden], lambda _: None))
        return hidden.relu() * 2

    hidden = torch.ones(2, 3, requires_grad=True) * 1.0
    for _ in range(3):
        hidden = checkpoint(block, hidden, use_reentrant=reentrant)
    hidden.sum().backward()
    del hidden
    gc.collect()
    left = [found for found in (reference() for reference in inputs) if found is not None]
    assert [tensor.grad is not None for tensor in left if tensor.is_leaf] == [True] * 3 * reentrant
    del left
    for handle in handles:
        handle.remove()
    gc.collect()
    assert all(reference() is None for reference in inputs)
