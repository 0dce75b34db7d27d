"""A program and a micro-batch to its peak: allocated bytes by part, reserved bytes, or out of memory."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from perftune.plan.allocator import Block, CachingAllocator, OutOfDeviceMemoryError, round_size
from perftune.plan.program import Part, Program

NUM_HOLDERS = 5


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


def allocated_peak(program: Program, micro_batch: int) -> Peak:
    """The peak of allocated memory, without the allocator's segments: exact, and fast enough for a whole grid."""
    sizes = program.sizes(micro_batch)
    rounded = np.where(sizes > 0, -(-sizes // round_size(1)) * round_size(1), 0)
    numbers = np.abs(program.events) - 1
    change = np.where(program.events > 0, rounded[numbers], -rounded[numbers])
    level = np.cumsum(change)
    moment = int(np.argmax(level))
    made = program.events[: moment + 1]
    alive = np.zeros(len(sizes), dtype=bool)
    alive[made[made > 0] - 1] = True
    alive[-made[made < 0] - 1] = False
    parts = {part.name.lower(): int(rounded[alive & (program.part == part)].sum()) for part in Part}
    return Peak(int(level[moment]), None, parts, _holders(program, alive, rounded))


def _holders(program: Program, alive: "np.ndarray", rounded: "np.ndarray") -> tuple[tuple[str, str, int], ...]:  # type: ignore[type-arg]
    moving = alive & np.isin(program.part, (Part.ACTIVATIONS, Part.TEMPORARIES, Part.OPTIMIZER_TEMPORARIES))
    found: Counter[tuple[str, str]] = Counter()
    for number in np.flatnonzero(moving):
        found[program.maker[number]] += int(rounded[number])
    return tuple((*maker, num_bytes) for maker, num_bytes in found.most_common(NUM_HOLDERS))


def replay(
    program: Program, micro_batch: int, *, capacity_bytes: int | None = None, expandable_segments: bool = False
) -> Peak:
    """The same with the caching allocator: also what it reserves, and whether that is there."""
    peak = allocated_peak(program, micro_batch)
    allocator = CachingAllocator(capacity_bytes, expandable_segments=expandable_segments)
    sizes = program.sizes(micro_batch)
    blocks: dict[int, Block] = {}
    try:
        for event in program.events.tolist():
            if event > 0:
                if sizes[event - 1] > 0:
                    blocks[event] = allocator.malloc(int(sizes[event - 1]))
            elif -event in blocks:
                allocator.free(blocks.pop(-event))
    except OutOfDeviceMemoryError:
        return Peak(peak.allocated_bytes, None, peak.parts, peak.holders, allocator.num_alloc_retries)
    return Peak(
        allocator.peak_allocated_bytes,
        allocator.peak_reserved_bytes,
        peak.parts,
        peak.holders,
        allocator.num_alloc_retries,
    )
