"""A traced step and an optimizer become two whole steps in which every byte is for something."""

import numpy as np
import pytest

from perftune.plan.memory import allocated_peak, replay
from perftune.plan.program import Part, Program, build_program, step_parts
from perftune.plan.tapes import constant, family
from tests.plan.traces import (
    BUFFERS,
    CLIP,
    GRADIENTS,
    KIB,
    LOSS,
    PARAMETERS,
    STATE,
    UPDATE,
    activation,
    optimizer,
    scratch,
    step,
    trace,
)

MODEL = sum(PARAMETERS) + sum(BUFFERS)
MICRO = 4


def program(accumulates: bool, keeps_gradients: bool = False, workspaces: tuple[int, ...] = ()) -> Program:
    steps = step(2, keeps_gradients), step(MICRO, keeps_gradients)
    tape = optimizer().tape
    assert tape is not None
    return build_program(trace(*steps), family(*steps), constant(tape), accumulates=accumulates, workspaces=workspaces)


def levels(found: Program, micro_batch: int = MICRO) -> list[int]:
    sizes = found.sizes(micro_batch)
    return np.cumsum(np.where(found.events > 0, 1, -1) * sizes[np.abs(found.events) - 1]).tolist()


@pytest.mark.parametrize("accumulates", [False, True])
@pytest.mark.parametrize("keeps_gradients", [False, True])
def test_nothing_is_freed_twice_or_before_it_is_there(accumulates: bool, keeps_gradients: bool) -> None:
    found = program(accumulates, keeps_gradients)
    alive: set[int] = set()
    for event in found.events.tolist():
        assert (abs(event) in alive) is (event < 0)
        alive ^= {abs(event)}
    left = {int(found.part[number - 1]) for number in alive}
    gradients = {Part.GRADIENTS} if keeps_gradients else set()
    assert left == {Part.PARAMETERS, Part.BUFFERS, Part.OPTIMIZER_STATE, *gradients}


def test_the_second_step_finds_the_state_of_the_first() -> None:
    found = program(accumulates=False)
    assert (found.part == Part.OPTIMIZER_STATE).sum() == 1
    peak = allocated_peak(found, MICRO)
    assert peak.allocated_bytes == MODEL + STATE + activation(MICRO) + LOSS + scratch(MICRO) + GRADIENTS[0]
    assert peak.parts == {
        "parameters": sum(PARAMETERS),
        "buffers": sum(BUFFERS),
        "gradients": GRADIENTS[0],
        "optimizer_state": STATE,
        "activations": activation(MICRO) + LOSS,
        "temporaries": scratch(MICRO),
        "optimizer_temporaries": 0,
        "workspaces": 0,
    }


def test_accumulation_adds_whole_gradients_to_the_peak() -> None:
    peak = allocated_peak(program(accumulates=True), MICRO)
    expected = MODEL + STATE + sum(GRADIENTS) + activation(MICRO) + LOSS + scratch(MICRO) + GRADIENTS[0]
    assert peak.allocated_bytes == expected
    assert peak.parts["gradients"] == sum(GRADIENTS)
    assert peak.parts["temporaries"] == scratch(MICRO) + GRADIENTS[0]


def test_gradients_that_zero_grad_keeps_are_there_in_the_next_forward() -> None:
    freed, kept = program(accumulates=False), program(accumulates=False, keeps_gradients=True)
    assert allocated_peak(kept, MICRO).parts["gradients"] == sum(GRADIENTS)
    assert allocated_peak(freed, MICRO).parts["gradients"] == GRADIENTS[0]
    assert (kept.part == Part.GRADIENTS).sum() == len(GRADIENTS)
    assert (freed.part == Part.GRADIENTS).sum() == 2 * len(GRADIENTS)
    assert levels(kept)[-1] - levels(freed)[-1] == sum(GRADIENTS)


def test_the_optimizer_peaks_where_the_batch_is_small() -> None:
    small = allocated_peak(program(accumulates=False), 0)
    assert small.allocated_bytes == MODEL + STATE + sum(GRADIENTS) + LOSS + max(CLIP, UPDATE)
    assert small.parts["optimizer_temporaries"] == UPDATE


def test_workspaces_are_there_all_the_time() -> None:
    without, with_them = program(accumulates=True), program(accumulates=True, workspaces=(8 * KIB, KIB))
    assert min(levels(with_them)[5:]) - min(levels(without)[3:]) == 9 * KIB
    assert allocated_peak(with_them, MICRO).parts["workspaces"] == 9 * KIB


@pytest.mark.parametrize("micro_batch", [0, 1, 3, 50])
def test_parts_add_up_to_what_is_allocated(micro_batch: int) -> None:
    for accumulates in (False, True):
        peak = allocated_peak(program(accumulates), micro_batch)
        assert (
            sum(peak.parts.values())
            == peak.allocated_bytes
            == replay(program(accumulates), micro_batch).allocated_bytes
        )


def test_parts_of_a_step_are_told_by_when_they_live() -> None:
    names = [Part(part).name for part in step_parts(step(MICRO).tape)]
    assert names[:5] == ["ACTIVATIONS", "ACTIVATIONS", "TEMPORARIES", "GRADIENTS", "GRADIENTS"]
    assert names[5:] == ["ACTIVATIONS", "ACTIVATIONS", "TEMPORARIES", "TEMPORARIES", "TEMPORARIES"]


@pytest.mark.parametrize("accumulates", [False, True])
def test_a_micro_step_turns_where_its_backward_pass_begins(accumulates: bool) -> None:
    found = program(accumulates)
    assert len(found.micro_steps) == 2 * (1 + accumulates)
    for micro_step in found.micro_steps:
        made = [event - 1 for event in found.events[micro_step.begin : micro_step.turn].tolist() if event > 0]
        assert found.maker[made[0]] == ("layer", "inputs")
        assert micro_step.begin < micro_step.turn < micro_step.end
