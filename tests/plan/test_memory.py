"""A replay counts what the allocator counts, by part; a capacity is either kept or it is out of memory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perftune.plan.allocator import CachingAllocator
from perftune.plan.memory import allocated_peak, replay
from perftune.plan.program import Part, Program
from perftune.units import MIB


def program(events: list[int], sizes: list[float], slopes: list[float] | None = None) -> Program:
    count = len(sizes)
    return Program(
        np.array(events, dtype=np.int64),
        np.array(sizes),
        np.array(slopes or [0.0] * count),
        np.array([number % len(Part) for number in range(count)], dtype=np.int64),
        [(f"module{number}", "op") for number in range(count)],
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    sizes = draw(st.lists(st.integers(0, 30 * MIB), min_size=1, max_size=40))
    events: list[int] = []
    alive: list[int] = []
    for number in range(len(sizes)):
        events.append(number + 1)
        alive.append(number + 1)
        while alive and draw(st.booleans()):
            events.append(-alive.pop(draw(st.integers(0, len(alive) - 1))))
    return program(events, [float(size) for size in sizes])


@given(programs())
def test_parts_add_up_to_what_the_allocator_counts(found: Program) -> None:
    asked, whole = allocated_peak(found, 1), replay(found, 1)
    allocator = CachingAllocator()
    blocks = {}
    for event in found.events.tolist():
        if event > 0 and found.base[event - 1]:
            blocks[event] = allocator.malloc(int(found.base[event - 1]))
        elif -event in blocks:
            allocator.free(blocks.pop(-event))
    assert (whole.allocated_bytes, whole.reserved_bytes) == (
        allocator.peak_allocated_bytes,
        allocator.peak_reserved_bytes,
    )
    assert sum(whole.parts.values()) == whole.allocated_bytes
    assert sum(asked.parts.values()) == asked.allocated_bytes <= whole.allocated_bytes
    tight = replay(found, 1, capacity_bytes=whole.reserved_bytes)
    assert (tight.reserved_bytes, tight.num_alloc_retries) == (whole.reserved_bytes, 0)


def test_a_block_that_is_not_split_counts_as_a_whole() -> None:
    found = program([1, 2, 3], [6.6 * MIB, 6.6 * MIB, 6.6 * MIB])
    assert replay(found, 1).allocated_bytes == 20 * MIB
    assert allocated_peak(found, 1).allocated_bytes < 20 * MIB


def test_sizes_come_from_the_micro_batch_and_are_rounded_up() -> None:
    found = program([1, 2], [100.0, 0.0], [0.0, 1000.0])
    assert allocated_peak(found, 3).allocated_bytes == 512 + 3072
    assert allocated_peak(found, 3, rounded_to=1).allocated_bytes == 3100
    assert allocated_peak(found, 0).allocated_bytes == 512


def test_more_than_the_capacity_is_out_of_memory() -> None:
    found = program([1, 2, -1, -2], [30.0 * MIB, 40.0 * MIB])
    assert replay(found, 1, capacity_bytes=70 * MIB).reserved_bytes == 70 * MIB
    peak = replay(found, 1, capacity_bytes=69 * MIB)
    assert peak.reserved_bytes is None
    assert peak.allocated_bytes == 70 * MIB
    assert sum(peak.parts.values()) == 70 * MIB


def test_memory_given_back_to_go_on_is_counted() -> None:
    found = program([1, -1, 2], [30.0 * MIB, 40.0 * MIB])
    assert replay(found, 1, capacity_bytes=50 * MIB).num_alloc_retries == 1
    assert replay(found, 1, capacity_bytes=80 * MIB).num_alloc_retries == 0


def test_expandable_segments_reserve_no_hole() -> None:
    found = program([1, -1, 2], [30.0 * MIB, 36.0 * MIB])
    reserved = [replay(found, 1, expandable_segments=expandable).reserved_bytes for expandable in (False, True)]
    assert reserved == [66 * MIB, 40 * MIB]


def test_holders_are_those_of_the_peak_largest_first() -> None:
    sizes = [1.0, 2.0, 3.0, 4.0, 5.0 * MIB, 6.0 * MIB, 7.0 * MIB, 8.0]
    peak = allocated_peak(program([*range(1, 7), -6, 7, 8], sizes), 1)
    assert [holder[0] for holder in peak.holders] == ["module6", "module4"]
    assert [holder[2] for holder in peak.holders] == pytest.approx([7 * MIB, 5 * MIB])


def test_lent_memory_comes_back_when_two_more_were_freed() -> None:
    once = [30.0 * MIB] * 4
    found = program([1, -1, 2, -2, 3, -3, 4, -4], once)
    lent = replace(found, lent=frozenset(range(4)), stream=dict.fromkeys(range(4), 1))
    assert (replay(found, 1).reserved_bytes, replay(lent, 1).reserved_bytes) == (30 * MIB, 60 * MIB)
    assert replay(lent, 1).allocated_bytes == replay(found, 1).allocated_bytes
