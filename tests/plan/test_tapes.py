"""Two traced sizes give every other one; what is unlike is not mixed."""

import pytest

from perftune.plan.tapes import DifferentTapesError, constant, family, in_order, tapes_of_sizes
from perftune.records.trace import Ops, Tape, TracedStep
from tests.plan.traces import step, trace


def test_sizes_and_work_grow_evenly() -> None:
    found = family(step(2), step(4))
    for micro_batch in (1, 3, 8, 100):
        expected = step(micro_batch).tape
        assert tuple(found.sizes.at(micro_batch)) == expected.sizes
        assert tuple(found.flops.at(micro_batch)) == expected.ops.flops
        assert tuple(found.num_bytes.at(micro_batch)) == expected.ops.num_bytes
    assert tuple(found.events) == in_order(step(2).tape).events


def test_nothing_falls_below_zero() -> None:
    first, second = (
        TracedStep(
            micro_batch=n, num_tokens=0, num_padded_tokens=0, tape=Tape(sizes=(float(10 * n - 15),), events=(1,))
        )
        for n in (2, 4)
    )
    assert family(first, second).sizes.at(1)[0] == 0


def test_a_constant_tape_is_the_same_at_every_size() -> None:
    tape = step(2).tape
    for micro_batch in (1, 64):
        assert tuple(constant(tape).sizes.at(micro_batch)) == tape.sizes


def test_other_events_or_operators_are_another_family() -> None:
    usual = step(4)
    events = usual.model_copy(update={"tape": usual.tape.model_copy(update={"events": usual.tape.events[:-1]})})
    ops = usual.tape.ops.model_copy(update={"name": (0, 0, 0, 0)})
    work = usual.model_copy(update={"tape": usual.tape.model_copy(update={"ops": Ops(**ops.model_dump())})})
    for other in (events, work):
        with pytest.raises(DifferentTapesError, match="2 and 4"):
            family(step(2), other)


def test_traced_sizes_are_taken_as_they_are_and_others_from_the_two_largest() -> None:
    odd = step(1).model_copy(update={"tape": Tape(sizes=(5.0,), events=(1,))})
    found = tapes_of_sizes(trace(odd, step(4), step(2)))
    assert tuple(found.at(1).sizes.at(1)) == (5.0,)
    assert tuple(found.at(4).sizes.at(4)) == step(4).tape.sizes
    assert tuple(found.at(16).sizes.at(16)) == step(16).tape.sizes


def test_nothing_is_said_between_sizes_that_are_unlike() -> None:
    odd = step(1).model_copy(update={"tape": Tape(sizes=(5.0,), events=(1,))})
    for found in (tapes_of_sizes(trace(odd, step(2))), tapes_of_sizes(trace(step(2)))):
        assert tuple(found.at(2).sizes.at(2)) == step(2).tape.sizes
        with pytest.raises(DifferentTapesError, match="8 was not traced"):
            found.at(8)


def test_the_order_of_frees_that_follow_one_another_is_none() -> None:
    tape = Tape(sizes=(1.0, 2.0, 3.0, 4.0), events=(1, 2, 3, -2, -3, -1, 4, -4), marks={"cut": 4})
    assert in_order(tape).events == (1, 2, 3, -2, -1, -3, 4, -4)
    assert in_order(tape.model_copy(update={"events": (1, 2, 3, -2, -1, -3, 4, -4)})) == in_order(tape)
