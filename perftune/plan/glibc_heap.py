"""glibc's heap on paper: allocations of a program on the CPU become what stays resident at its highest moment.

On the CPU torch allocates with ``posix_memalign`` (c10/core/impl/alloc_cpu.cpp), so what a process holds is not what
its tensors hold: malloc/malloc.c of glibc 2.36 takes the smallest free chunk that is large enough, cuts off what is not
needed, merges free neighbours, and gives memory back only at the heap's end. Requests above a threshold are mapped on
their own, as long as no free chunk is large enough; the threshold grows to the largest mapped chunk that was freed.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field

from perftune.plan.program import Program
from perftune.units import KIB, MIB

ALIGNMENT = 64
"""Of every tensor (c10/core/alignment.h, ``gAlignment``)."""
HEADER_BYTES, GRANULE_BYTES, SMALLEST_CHUNK_BYTES = 8, 16, 32
PAGE_BYTES = 4 * KIB
FIRST_THRESHOLD_BYTES, LARGEST_THRESHOLD_BYTES = 128 * KIB, 32 * MIB
TOP_PAD_BYTES = 128 * KIB
"""How much more the heap grows by, and keeps when it is trimmed."""
TRIM_FROM_BYTES = 64 * KIB
"""A chunk that was freed looks at the heap's end from this size on (``FASTBIN_CONSOLIDATION_THRESHOLD``)."""
SMALL_BYTES = KIB
"""Smaller requests come from caches of their own and are left out."""
PINNED = 4
"""Of so many pieces that alignment cuts off, one is taken by something small that stays: nodes of autograd, shapes,
strings. Fitted on the recorded peaks of five shipped probes in fp32 (2, 3, 4, 6 and 8 give 4.9, 5.4, 4.8, 6.0 and 6.2 %
median error once the first trial is known)."""


@dataclass(eq=False)
class Heap:
    """The main arena of one process."""

    mapped_bytes: int = 0
    peak_bytes: int = 0
    """The most that was touched in the heap and mapped beside it."""
    _threshold: int = FIRST_THRESHOLD_BYTES
    _trim: int = FIRST_THRESHOLD_BYTES
    _top: int = 0
    """Where the chunk that ends the heap begins."""
    _end: int = 0
    _touched: int = 0
    _num_pieces: int = 0
    _by_size: list[tuple[int, int]] = field(default_factory=list)
    _free: dict[int, int] = field(default_factory=dict)
    """Address of a free chunk -> its bytes."""
    _free_ends: dict[int, int] = field(default_factory=dict)
    """Where a free chunk ends -> where it begins."""

    @property
    def resident_bytes(self) -> int:
        """What was touched and not given back."""
        return self._touched + self.mapped_bytes

    def malloc(self, num_bytes: int) -> tuple[int, int]:
        """An aligned chunk: address and bytes; the address is -1 where it is mapped on its own."""
        wanted = _up(num_bytes + HEADER_BYTES, GRANULE_BYTES)
        asked = wanted + ALIGNMENT + SMALLEST_CHUNK_BYTES
        index = bisect_left(self._by_size, (asked, -1))
        if index < len(self._by_size):
            size, address = self._by_size[index]
            self._take(address)
        elif self._end - self._top < asked + SMALLEST_CHUNK_BYTES and asked >= self._threshold:
            size = _up(asked, PAGE_BYTES)
            self.mapped_bytes += size
            self._note_peak()
            return -1, size
        else:
            size, address = asked, self._from_top(asked)
        return self._aligned(address, size, wanted)

    def free(self, chunk: tuple[int, int]) -> None:
        """Take back what `malloc` gave."""
        address, size = chunk
        if address >= 0:
            self._give(address, size)
            return
        self.mapped_bytes -= size
        if self._threshold < size <= LARGEST_THRESHOLD_BYTES:
            self._threshold, self._trim = size, 2 * size

    def _from_top(self, size: int) -> int:
        if self._end - self._top < size + SMALLEST_CHUNK_BYTES:
            self._end = _up(self._top + size + SMALLEST_CHUNK_BYTES + TOP_PAD_BYTES, PAGE_BYTES)
        address = self._top
        self._top += size
        self._touched = max(self._touched, self._top)
        return address

    def _aligned(self, address: int, size: int, wanted: int) -> tuple[int, int]:
        """What alignment does not need goes back at both ends."""
        lead = -(address + GRANULE_BYTES) % ALIGNMENT
        if 0 < lead < SMALLEST_CHUNK_BYTES:
            lead += ALIGNMENT
        chunk, rest = address + lead, size - lead - wanted
        if lead:
            self._cut_off(address, lead)
        if rest < SMALLEST_CHUNK_BYTES:
            wanted += rest
        else:
            self._cut_off(chunk + wanted, rest)
        self._note_peak()
        return chunk, wanted

    def _cut_off(self, address: int, size: int) -> None:
        is_at_top = address + size == self._top
        if size <= SMALL_BYTES and not is_at_top:
            self._num_pieces += 1
            if self._num_pieces % PINNED == 0:
                return
        self._give(address, size)

    def _give(self, address: int, size: int) -> None:
        if address + size in self._free:
            size += self._take(address + size)
        if address in self._free_ends:
            before = self._free_ends[address]
            size += self._take(before)
            address = before
        if address + size == self._top:
            self._top = address
            if size >= TRIM_FROM_BYTES:
                self._trim_end()
        else:
            insort(self._by_size, (size, address))
            self._free[address] = size
            self._free_ends[address + size] = address

    def _take(self, address: int) -> int:
        size = self._free.pop(address)
        del self._free_ends[address + size]
        del self._by_size[bisect_left(self._by_size, (size, address))]
        return size

    def _trim_end(self) -> None:
        if self._end - self._top < self._trim:
            return
        surplus = (self._end - self._top - SMALLEST_CHUNK_BYTES - TOP_PAD_BYTES) // PAGE_BYTES * PAGE_BYTES
        if surplus > 0:
            self._end -= surplus
            self._touched = min(self._touched, self._end)

    def _note_peak(self) -> None:
        self.peak_bytes = max(self.peak_bytes, self.resident_bytes)


def _up(num_bytes: int, multiple: int) -> int:
    return -(-num_bytes // multiple) * multiple


def resident_peak(program: Program, micro_batch: int) -> int:
    """The most bytes that a program's tensors keep resident on the CPU, parameters and holes of the heap included."""
    heap, sizes = Heap(), program.sizes(micro_batch).tolist()
    chunks: dict[int, tuple[int, int]] = {}
    for event in program.events.tolist():
        if event > 0 and sizes[event - 1] >= SMALL_BYTES:
            chunks[event] = heap.malloc(sizes[event - 1])
        elif -event in chunks:
            heap.free(chunks.pop(-event))
    return heap.peak_bytes
