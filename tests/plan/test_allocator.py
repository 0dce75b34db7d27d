"""The caching allocator on paper does what PyTorch's does, case by case, and never loses or doubles a byte."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perftune.plan.allocator import Block, CachingAllocator, OutOfDeviceMemoryError, round_size, segment_size
from perftune.units import MIB


@pytest.mark.parametrize(("asked", "rounded"), [(1, 512), (512, 512), (513, 1024), (1000, 1024), (MIB + 1, MIB + 512)])
def test_requests_are_rounded_to_512_bytes(asked: int, rounded: int) -> None:
    assert round_size(asked) == rounded


@pytest.mark.parametrize(
    ("size", "segment"),
    [
        (512, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 512, 20 * MIB),
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (11 * MIB, 12 * MIB),
        (33 * MIB + 512, 34 * MIB),
    ],
)
def test_segments_come_in_the_sizes_of_pytorch(size: int, segment: int) -> None:
    assert segment_size(size) == segment


def test_small_requests_share_a_segment() -> None:
    allocator = CachingAllocator()
    for _ in range(4):
        allocator.malloc(MIB // 2)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (2 * MIB, 2 * MIB)
    allocator.malloc(1)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (2 * MIB + 512, 4 * MIB)


def test_a_large_block_is_split_only_where_more_than_a_mebibyte_is_left() -> None:
    allocator = CachingAllocator()
    allocator.malloc(11 * MIB)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (12 * MIB, 12 * MIB)
    allocator = CachingAllocator()
    allocator.malloc(9 * MIB)
    allocator.malloc(9 * MIB)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (18 * MIB, 20 * MIB)


def test_the_smallest_block_that_is_large_enough_is_taken() -> None:
    allocator = CachingAllocator()
    large, small = allocator.malloc(40 * MIB), allocator.malloc(20 * MIB)
    allocator.free(large)
    allocator.free(small)
    assert allocator.malloc(16 * MIB).address == small.address
    assert allocator.reserved_bytes == 60 * MIB


def test_neighbours_are_merged_whatever_the_order_of_the_frees() -> None:
    for order in ([0, 1, 2], [2, 1, 0], [0, 2, 1], [1, 0, 2]):
        allocator = CachingAllocator()
        blocks = [allocator.malloc(6 * MIB) for _ in range(3)]
        for index in order:
            allocator.free(blocks[index])
        assert allocator.malloc(20 * MIB).num_bytes == 20 * MIB
        assert allocator.reserved_bytes == 20 * MIB


def test_fragmentation_reserves_more_than_is_allocated() -> None:
    allocator = CachingAllocator()
    held = [allocator.malloc(6 * MIB) for _ in range(6)]
    for block in held[::3]:
        allocator.free(block)
    allocator.malloc(12 * MIB)
    assert allocator.allocated_bytes == 36 * MIB
    assert allocator.reserved_bytes == 52 * MIB


def test_free_segments_go_back_to_the_driver_before_memory_runs_out() -> None:
    allocator = CachingAllocator(capacity_bytes=100 * MIB)
    allocator.free(allocator.malloc(60 * MIB))
    allocator.malloc(80 * MIB)
    assert allocator.num_alloc_retries == 1
    assert allocator.reserved_bytes == 80 * MIB
    assert allocator.peak_reserved_bytes == 80 * MIB


def test_out_of_memory_names_the_request_and_leaves_the_figures_as_they_were() -> None:
    allocator = CachingAllocator(capacity_bytes=100 * MIB)
    allocator.malloc(60 * MIB)
    with pytest.raises(OutOfDeviceMemoryError) as caught:
        allocator.malloc(60 * MIB)
    assert caught.value.requested_bytes == 60 * MIB
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (60 * MIB, 60 * MIB)


def test_a_segment_in_use_cannot_be_given_back() -> None:
    allocator = CachingAllocator(capacity_bytes=40 * MIB)
    first, second = allocator.malloc(9 * MIB), allocator.malloc(9 * MIB)
    allocator.free(first)
    with pytest.raises(OutOfDeviceMemoryError):
        allocator.malloc(30 * MIB)
    allocator.free(second)
    allocator.malloc(30 * MIB)


def test_an_expandable_segment_grows_at_its_end_and_wastes_no_hole() -> None:
    rigid, expandable = CachingAllocator(), CachingAllocator(expandable_segments=True)
    for allocator in (rigid, expandable):
        first = allocator.malloc(30 * MIB)
        allocator.free(first)
        allocator.malloc(36 * MIB)
    assert rigid.reserved_bytes == 66 * MIB
    assert expandable.reserved_bytes == 40 * MIB


def test_an_expandable_segment_gives_its_last_pages_back() -> None:
    allocator = CachingAllocator(capacity_bytes=100 * MIB, expandable_segments=True)
    allocator.malloc(10 * MIB)
    allocator.free(allocator.malloc(70 * MIB))
    assert allocator.reserved_bytes == 80 * MIB
    assert allocator.empty_cache() == 60 * MIB
    allocator.malloc(50 * MIB)
    assert allocator.reserved_bytes == 60 * MIB


def test_a_block_is_freed_once() -> None:
    allocator = CachingAllocator()
    block = allocator.malloc(1)
    allocator.free(block)
    with pytest.raises(ValueError, match="free already"):
        allocator.free(block)


SIZES = st.one_of(st.integers(1, 4096), st.integers(1, 3 * MIB), st.integers(MIB, 64 * MIB))
STEPS = st.lists(st.tuples(SIZES, st.integers(0, 3), st.integers(0, 10**6)), min_size=1, max_size=80)


@given(STEPS, st.booleans())
def test_no_byte_is_lost_or_given_out_twice(steps: list[tuple[int, int, int]], expandable: bool) -> None:
    allocator = CachingAllocator(capacity_bytes=256 * MIB, expandable_segments=expandable)
    live: list[Block] = []
    for num_bytes, action, which in steps:
        if action == 0 and live:
            allocator.free(live.pop(which % len(live)))
            continue
        try:
            live.append(allocator.malloc(num_bytes))
        except OutOfDeviceMemoryError:
            assert allocator.reserved_bytes <= 256 * MIB
        spans = sorted((block.address, block.num_bytes) for block in live)
        assert all(a + size <= b for (a, size), (b, _) in itertools.pairwise(spans))
        assert allocator.allocated_bytes == sum(block.num_bytes for block in live)
        assert allocator.allocated_bytes <= allocator.reserved_bytes <= 256 * MIB
    for block in live:
        allocator.free(block)
    assert allocator.allocated_bytes == 0
    assert allocator.empty_cache() >= 0
    assert allocator.reserved_bytes == 0


def test_streams_do_not_share_what_they_have_freed() -> None:
    allocator = CachingAllocator()
    allocator.free(allocator.malloc(30 * MIB, stream=1))
    allocator.malloc(30 * MIB)
    assert allocator.reserved_bytes == 60 * MIB
    allocator.malloc(30 * MIB, stream=1)
    assert allocator.reserved_bytes == 60 * MIB
    assert allocator.empty_cache() == 0
