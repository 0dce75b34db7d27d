"""PyTorch's CUDA caching allocator on paper: requests and frees become allocated and reserved bytes, or out of memory.

Follows ``c10/cuda/CUDACachingAllocator.cpp`` of PyTorch 2.x, default settings: each stream has pools of its own; sizes
are rounded to 512 bytes; requests up to 1 MiB are cut from segments of 2 MiB, larger ones from segments of 20 MiB or,
from 10 MiB on, of their own size rounded to 2 MiB; the smallest free block that is large enough is taken, and split
where enough is left; free neighbours are merged; segments that are wholly free go back to the driver only under
pressure. With ``expandable_segments`` each pool is one segment that grows at its end by pages of 2 or 20 MiB.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field

from perftune.units import MIB

MIN_BLOCK_BYTES = 512
SMALL_BYTES = 1 * MIB
"""Requests up to this size are served from the small pool."""
SMALL_SEGMENT_BYTES = 2 * MIB
LARGE_SEGMENT_BYTES = 20 * MIB
MIN_LARGE_BYTES = 10 * MIB
"""Requests from this size on get a segment of their own size."""
ROUND_LARGE_BYTES = 2 * MIB


class OutOfDeviceMemoryError(Exception):
    """A request that cannot be served, even with every free segment given back."""

    def __init__(self, requested_bytes: int, allocated_bytes: int, reserved_bytes: int) -> None:
        super().__init__(
            f"{requested_bytes:,} bytes requested, {allocated_bytes:,} allocated, {reserved_bytes:,} reserved"
        )
        self.requested_bytes = requested_bytes


@dataclass(eq=False)
class Block:
    """A stretch of a segment; neighbours in address order, None at the segment's ends."""

    address: int
    num_bytes: int
    pool: "_Pool"
    previous: "Block | None" = None
    next: "Block | None" = None
    is_free: bool = False

    @property
    def is_whole_segment(self) -> bool:
        """Whether nothing else is in its segment."""
        return self.previous is None and self.next is None


@dataclass(eq=False)
class _Pool:
    is_small: bool
    free: list[tuple[int, int]] = field(default_factory=list)
    """Sizes and addresses of the free blocks, ascending."""
    blocks: dict[int, Block] = field(default_factory=dict)
    """Free blocks by address."""
    last: Block | None = None
    """The block at the end of the expandable segment."""
    next_address: int = 0

    def add(self, block: Block) -> None:
        block.is_free = True
        insort(self.free, (block.num_bytes, block.address))
        self.blocks[block.address] = block

    def remove(self, block: Block) -> None:
        block.is_free = False
        del self.free[bisect_left(self.free, (block.num_bytes, block.address))]
        del self.blocks[block.address]

    def take(self, num_bytes: int) -> Block | None:
        """Remove the smallest free block that is large enough, the lowest address first."""
        index = bisect_left(self.free, (num_bytes, -1))
        if index == len(self.free):
            return None
        block = self.blocks.pop(self.free.pop(index)[1])
        block.is_free = False
        return block


def round_size(num_bytes: int) -> int:
    """What a request takes of a block."""
    return max(MIN_BLOCK_BYTES, -(-num_bytes // MIN_BLOCK_BYTES) * MIN_BLOCK_BYTES)


def segment_size(num_bytes: int) -> int:
    """What is asked of the driver for a rounded request."""
    if num_bytes <= SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    if num_bytes < MIN_LARGE_BYTES:
        return LARGE_SEGMENT_BYTES
    return -(-num_bytes // ROUND_LARGE_BYTES) * ROUND_LARGE_BYTES


class CachingAllocator:
    """One device's allocator.

    Args:
        capacity_bytes: what the driver can give to segments; None: without end.
        expandable_segments: as ``PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True``.
    """

    def __init__(self, capacity_bytes: int | None = None, *, expandable_segments: bool = False) -> None:
        self.capacity_bytes = capacity_bytes
        self.expandable_segments = expandable_segments
        self.allocated_bytes = self.peak_allocated_bytes = 0
        self.reserved_bytes = self.peak_reserved_bytes = 0
        self.num_alloc_retries = 0
        self._pools: dict[tuple[int, bool], _Pool] = {}

    def malloc(self, num_bytes: int, stream: int = 0) -> Block:
        """Serve a request of at least one byte, from the pools of a stream.

        Raises:
            OutOfDeviceMemoryError: the capacity does not allow it.
        """
        size = round_size(num_bytes)
        key = stream, size <= SMALL_BYTES
        pool = self._pools.setdefault(key, _Pool(is_small=key[1], next_address=len(self._pools) << 60))
        block = pool.take(size)
        if block is None:
            block = self._grow(pool, size) or self._grow_under_pressure(pool, size)
            if block is None:
                raise OutOfDeviceMemoryError(num_bytes, self.allocated_bytes, self.reserved_bytes)
            pool.remove(block)
        self._split(block, size)
        self.allocated_bytes += block.num_bytes
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)
        return block

    def free(self, block: Block) -> None:
        """Take a block back and merge it with its free neighbours.

        Raises:
            ValueError: it is free already.
        """
        if block.is_free:
            raise ValueError(f"the block at {block.address:#x} is free already")
        self.allocated_bytes -= block.num_bytes
        if block.next is not None and block.next.is_free:
            self._absorb_next(block)
        if block.previous is not None and block.previous.is_free:
            block = block.previous
            block.pool.remove(block)
            self._merge(block)
        block.pool.add(block)

    def empty_cache(self) -> int:
        """Give every wholly free segment, or page of an expandable one, back to the driver; the bytes given back."""
        before = self.reserved_bytes
        for pool in self._pools.values():
            if self.expandable_segments:
                self._shrink(pool)
                continue
            for block in [block for block in pool.blocks.values() if block.is_whole_segment]:
                pool.remove(block)
                self.reserved_bytes -= block.num_bytes
        return before - self.reserved_bytes

    def _grow_under_pressure(self, pool: _Pool, size: int) -> Block | None:
        self.num_alloc_retries += 1
        self.empty_cache()
        return self._grow(pool, size)

    def _grow(self, pool: _Pool, size: int) -> Block | None:
        """New memory from the driver as a free block that is large enough; None when there is not enough."""
        last = pool.last if self.expandable_segments else None
        tail = last.num_bytes if last is not None and last.is_free else 0
        if self.expandable_segments:
            page = SMALL_SEGMENT_BYTES if pool.is_small else LARGE_SEGMENT_BYTES
            fresh = -(-(size - tail) // page) * page
        else:
            fresh = segment_size(size)
        if self.capacity_bytes is not None and self.reserved_bytes + fresh > self.capacity_bytes:
            return None
        self.reserved_bytes += fresh
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)
        block = Block(pool.next_address, fresh, pool)
        pool.next_address += fresh
        if self.expandable_segments:
            block = self._append(pool, block)
        pool.add(block)
        return block

    def _append(self, pool: _Pool, block: Block) -> Block:
        last, pool.last = pool.last, block
        if last is None:
            return block
        if last.is_free:
            pool.remove(last)
            last.num_bytes += block.num_bytes
            pool.last = last
            return last
        last.next, block.previous = block, last
        return block

    def _split(self, block: Block, size: int) -> None:
        """Cut off what a request does not need, where enough is left to be of use."""
        rest = block.num_bytes - size
        enough = MIN_BLOCK_BYTES if block.pool.is_small or self.expandable_segments else SMALL_BYTES + 1
        if rest < enough:
            return
        remainder = Block(block.address + size, rest, block.pool, previous=block, next=block.next)
        if block.next is not None:
            block.next.previous = remainder
        if block.pool.last is block:
            block.pool.last = remainder
        block.next, block.num_bytes = remainder, size
        block.pool.add(remainder)

    def _absorb_next(self, block: Block) -> None:
        assert block.next is not None
        block.pool.remove(block.next)
        self._merge(block)

    def _merge(self, block: Block) -> None:
        """Make one of a block and its next one, neither of them in the free list."""
        following = block.next
        assert following is not None
        block.num_bytes += following.num_bytes
        block.next = following.next
        if block.next is not None:
            block.next.previous = block
        if block.pool.last is following:
            block.pool.last = block

    def _shrink(self, pool: _Pool) -> None:
        """Unmap the whole pages at the end of an expandable segment. Holes between blocks stay mapped here."""
        last = pool.last
        if last is None or not last.is_free:
            return
        page = SMALL_SEGMENT_BYTES if pool.is_small else LARGE_SEGMENT_BYTES
        given_back = last.num_bytes // page * page
        if not given_back:
            return
        pool.remove(last)
        self.reserved_bytes -= given_back
        pool.next_address -= given_back
        last.num_bytes -= given_back
        if last.num_bytes:
            pool.add(last)
            return
        pool.last = last.previous
        if last.previous is not None:
            last.previous.next = None
