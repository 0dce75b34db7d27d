"""The heap on paper: alignment, holes, trimming and mapping by hand, and beside the real one."""

import itertools
import subprocess
import sys
from array import array
from statistics import median

import numpy as np
import pytest

from perftune.plan.glibc_heap import FIRST_THRESHOLD_BYTES, PAGE_BYTES, PINNED, TOP_PAD_BYTES, Heap, resident_peak
from perftune.plan.program import Program
from perftune.units import KIB, MIB


def program(events: list[int], sizes: list[float]) -> Program:
    count = len(sizes)
    return Program(
        np.array(events), np.array(sizes), np.zeros(count), np.zeros(count, dtype=np.int64), [("", "made")] * count
    )


def test_tensors_are_aligned_and_do_not_overlap() -> None:
    heap, taken = Heap(), []
    for number in range(200):
        address, size = heap.malloc(1000 + 700 * number % 9000)
        assert (address + 16) % 64 == 0
        taken.append((address, address + size))
    taken.sort()
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(taken))


def test_what_is_large_is_mapped_until_one_of_its_size_was_freed() -> None:
    heap = Heap()
    chunk = heap.malloc(MIB)
    assert chunk[0] == -1
    assert heap.mapped_bytes >= MIB > FIRST_THRESHOLD_BYTES
    heap.free(chunk)
    assert heap.mapped_bytes == 0
    assert heap.malloc(MIB - 8 * KIB)[0] >= 0, "the threshold has grown"
    assert heap.malloc(2 * MIB)[0] == -1


def test_memory_under_a_chunk_that_lives_is_not_given_back() -> None:
    heap = Heap()
    low, high = heap.malloc(100 * KIB), heap.malloc(2 * KIB)
    before = heap.peak_bytes
    heap.free(low)
    again = heap.malloc(90 * KIB)
    assert again[0] < high[0], "the hole is taken again"
    assert heap.peak_bytes == before


@pytest.mark.parametrize("pinned", [PINNED, 10**9])
def test_the_end_of_the_heap_is_given_back_unless_something_small_stays(
    pinned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perftune.plan.glibc_heap.PINNED", pinned)
    heap = Heap()
    chunks = [heap.malloc(100 * KIB) for _ in range(20)]
    for chunk in reversed(chunks):
        heap.free(chunk)
    assert (heap.resident_bytes <= 2 * TOP_PAD_BYTES) == (pinned > PINNED)


def test_the_peak_of_a_program_is_between_its_tensors_and_twice_them() -> None:
    sizes = [float(300 * KIB + 11 * KIB * (number % 7)) for number in range(60)]
    events = [number + 1 for number in range(40)] + [-(number + 1) for number in range(0, 40, 2)]
    events += [number + 1 for number in range(40, 60)]
    alive = sum(sizes[:40])
    assert alive < resident_peak(program(events, sizes), 1) < 2 * alive


REAL = """
import ctypes, sys
from array import array

libc = ctypes.CDLL("libc.so.6", use_errno=True)

class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    _fields_ = [(name, ctypes.c_size_t) for name in names]

libc.mallinfo2.restype = Info
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def held():
    info = libc.mallinfo2()
    return info.arena + info.hblkhd

def is_taken_from_a_hole(size):
    before = libc.mallinfo2()
    pointer = libc.malloc(size)
    after = libc.mallinfo2()
    if (after.keepcost, after.arena, after.hblkhd) == (before.keepcost, before.arena, before.hblkhd):
        return True
    libc.free(pointer)
    return False

# Nothing below asks for memory but through posix_memalign: numbers are small objects of Python's own arenas.
page_bytes, count, *numbers = array("q", sys.stdin.buffer.read())
sizes, events = numbers[:count], numbers[count:]
pointers = [ctypes.c_void_p() for _ in sizes]
places = [ctypes.byref(pointer) for pointer in pointers]

# The interpreter has left holes, and a top of whatever size: holes are filled, of the top one page is left.
size = 120000
while size >= 32:
    if size > libc.mallinfo2().fordblks - libc.mallinfo2().keepcost or not is_taken_from_a_hole(size):
        size = size * 3 // 4
libc.malloc(libc.mallinfo2().keepcost - page_bytes - 16)
assert libc.mallinfo2().keepcost == page_bytes

before, peak = held(), 0
for event in events:
    if event > 0:
        assert libc.posix_memalign(places[event - 1], 64, sizes[event - 1]) == 0
    else:
        libc.free(pointers[-event - 1])
    peak = max(peak, held() - before)
print(peak)
"""
NO_CACHES = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"}
"""Small chunks merge with their neighbours at once, as they do on paper."""


def requests(seed: int) -> tuple[list[int], list[int]]:
    """Events and sizes: 600 allocations of 2 KiB to 4 MiB, of which 60 are alive at a time."""
    rng = np.random.default_rng(seed)
    sizes = (2 ** rng.uniform(11, 22, 600)).round().astype(int).tolist()
    events: list[int] = []
    alive: list[int] = []
    for number in range(600):
        events.append(number + 1)
        alive.append(number + 1)
        while len(alive) > 60:
            events.append(-alive.pop(int(rng.integers(len(alive)))))
    return events, sizes


def held_on_paper(events: list[int], sizes: list[int]) -> int:
    """The most that a heap with a page to begin with takes from the system, more than that page."""
    heap, chunks, most = Heap(_end=PAGE_BYTES), {}, 0
    for event in events:
        if event > 0:
            chunks[event] = heap.malloc(sizes[event - 1])
        else:
            heap.free(chunks.pop(-event))
        most = max(most, heap._end - PAGE_BYTES + heap.mapped_bytes)
    return most


def held_for_real(events: list[int], sizes: list[int]) -> int:
    """The same of a process that does nothing else, and has imported nothing that is installed."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", REAL],
        input=array("q", [PAGE_BYTES, len(sizes), *sizes, *events]).tobytes(),
        capture_output=True, check=False, env=NO_CACHES,
    )  # fmt: skip
    said = done.stderr.decode()
    if "mallinfo2" in said or "libc.so.6" in said:
        pytest.skip("another libc, or glibc before 2.33")
    assert done.returncode == 0, said
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_it_holds_about_what_glibc_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same requests, from the same state, where nothing small takes the pieces that alignment cuts off.

    Half are alike to the byte. Which of two free chunks of one size is taken can send the rest another way.
    """
    monkeypatch.setattr("perftune.plan.glibc_heap.PINNED", 10**9)
    assert PINNED < 10**9
    off = []
    for seed in range(16):
        events, sizes = requests(seed)
        off.append(abs(held_on_paper(events, sizes) / held_for_real(events, sizes) - 1))
    assert median(off) < 0.02, off
    assert max(off) < 0.2, off
