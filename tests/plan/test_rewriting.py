"""Allocations are added and moved at places of the old program; what was there stays in order."""

from perftune.plan.program import Part
from perftune.plan.rewriting import Rewriting, for_another_part
from tests.plan.blocks import blocks_program, lifetimes, named


def test_what_is_made_is_there_between_its_places() -> None:
    program = blocks_program()
    changes = Rewriting(program)
    number = changes.make(5, (7.0, 2.0), Part.BUFFERS, "extra", stream=3, is_lent=True)
    changes.free(9, number)
    changed = changes.done()
    assert named(changed, "extra") == [number]
    assert [event for event in changed.events.tolist() if abs(event) != number + 1] == program.events.tolist()
    begin, end = lifetimes(changed)[number]
    assert (begin, end) == (5, 10)
    assert changed.sizes(4)[number] == 15
    assert (changed.part[number], changed.stream, changed.lent) == (Part.BUFFERS, {number: 3}, frozenset({number}))


def test_an_allocation_ends_where_it_is_told_to() -> None:
    program = blocks_program()
    changes = Rewriting(program)
    changes.free(len(program.events), 3)
    changed = changes.done()
    assert lifetimes(changed)[3] == (3, len(program.events) - 1)
    assert len(changed.events) == len(program.events)


def test_micro_steps_move_with_their_events() -> None:
    program = blocks_program()
    changes = Rewriting(program)
    for place in (0, program.micro_steps[0].turn):
        changes.make(place, (1.0, 0.0), Part.BUFFERS, "extra")
    (before,), (after,) = program.micro_steps, changes.done().micro_steps
    assert (after.begin, after.turn, after.end) == (before.begin + 1, before.turn + 1, before.end + 2)


def test_only_the_named_allocations_are_for_another_part() -> None:
    program = blocks_program()
    changed = for_another_part(program, {8, 10}, Part.TEMPORARIES)
    assert [n for n in range(len(program.part)) if changed.part[n] != program.part[n]] == [8, 10]
