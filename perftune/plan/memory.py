"""A program and a micro-batch to its peak: allocated bytes by part, reserved bytes, or out of memory."""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perftune.plan.allocator import MIN_BLOCK_BYTES, Block, CachingAllocator, OutOfDeviceMemoryError
from perftune.plan.program import Part, Program
from perftune.plan.tapes import Ints

NUM_HOLDERS = 5
NUM_IN_FLIGHT = 2
"""Freed blocks of a stream that another one may still work on; for the next one the host waits until the oldest is back
(``limit_all_gathers``, torch/distributed/fsdp/_limiter_utils.py: ``_max_num_inflight_all_gathers``)."""


@dataclass(frozen=True)
class Peak:
    """The moment with the most memory."""

    allocated_bytes: int
    reserved_bytes: int | None
    """None: out of memory."""
    parts: dict[str, int]
    """Part -> bytes at that moment; they add up to `allocated_bytes`."""
    holders: tuple[tuple[str, str, int], ...]
    """Module, operator and bytes of what holds most of activations and temporaries then."""
    num_alloc_retries: int = 0


def allocated_peak(program: Program, micro_batch: int, *, rounded_to: int = MIN_BLOCK_BYTES) -> Peak:
    """The peak of what is asked for: fast enough for a whole grid.

    The allocator counts a little more where it does not split a block (see `replay`).

    Args:
        program: what is allocated.
        micro_batch: its size.
        rounded_to: bytes that each request is rounded to a multiple of.
    """
    return _peak(program, -(-program.sizes(micro_batch) // rounded_to) * rounded_to)


def _peak(program: Program, taken: Ints) -> Peak:
    """The moment at which most is taken by what is alive."""
    numbers = np.abs(program.events) - 1
    level = np.cumsum(np.where(program.events > 0, taken[numbers], -taken[numbers]))
    moment = int(np.argmax(level))
    made = program.events[: moment + 1]
    alive = np.zeros(len(taken), dtype=bool)
    alive[made[made > 0] - 1] = True
    alive[-made[made < 0] - 1] = False
    parts = {part.name.lower(): int(taken[alive & (program.part == part)].sum()) for part in Part}
    return Peak(int(level[moment]), None, parts, _holders(program, alive, taken))


def _holders(program: Program, alive: NDArray[np.bool_], taken: Ints) -> tuple[tuple[str, str, int], ...]:
    moving = alive & np.isin(program.part, (Part.ACTIVATIONS, Part.TEMPORARIES, Part.OPTIMIZER_TEMPORARIES))
    found: Counter[tuple[str, str]] = Counter()
    for number in np.flatnonzero(moving):
        found[program.maker[number]] += int(taken[number])
    return tuple((*maker, num_bytes) for maker, num_bytes in found.most_common(NUM_HOLDERS))


def replay(
    program: Program, micro_batch: int, *, capacity_bytes: int | None = None, expandable_segments: bool = False
) -> Peak:
    """The same with the caching allocator: what its blocks take, what it reserves, and whether that is there."""
    allocator = CachingAllocator(capacity_bytes, expandable_segments=expandable_segments)
    sizes = program.sizes(micro_batch).tolist()
    taken = [0] * len(sizes)
    blocks: dict[int, Block] = {}
    awaited: defaultdict[int, deque[Block]] = defaultdict(deque)
    try:
        for event in program.events.tolist():
            number = abs(event) - 1
            stream, is_lent = program.stream.get(number, 0), number in program.lent
            if event > 0 and sizes[number] > 0:
                if is_lent and len(awaited[stream]) >= NUM_IN_FLIGHT:
                    allocator.free(awaited[stream].popleft())
                block = blocks[event] = allocator.malloc(sizes[number], stream)
                taken[number] = block.num_bytes
            elif event < 0 and -event in blocks:
                if is_lent:
                    awaited[stream].append(blocks.pop(-event))
                else:
                    allocator.free(blocks.pop(-event))
    except OutOfDeviceMemoryError:
        return replace(allocated_peak(program, micro_batch), num_alloc_retries=allocator.num_alloc_retries)
    return replace(
        _peak(program, np.array(taken, dtype=np.int64)),
        reserved_bytes=allocator.peak_reserved_bytes,
        num_alloc_retries=allocator.num_alloc_retries,
    )
