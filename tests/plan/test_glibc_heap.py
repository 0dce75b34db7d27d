"""The heap on paper: alignment, holes, trimming and mapping by hand, and beside the real one."""

import itertools
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from perftune.plan.glibc_heap import FIRST_THRESHOLD_BYTES, PINNED, TOP_PAD_BYTES, Heap, resident_peak
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
import ctypes, random, sys
libc = ctypes.CDLL("libc.so.6", use_errno=True)
class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    _fields_ = [(name, ctypes.c_size_t) for name in names]
libc.mallinfo2.restype = Info
def held():
    info = libc.mallinfo2()
    return info.arena + info.hblkhd
events, sizes = eval(sys.stdin.read())
pointers, before, peak = {}, held(), 0
for event in events:
    if event > 0:
        pointer = ctypes.c_void_p()
        assert libc.posix_memalign(ctypes.byref(pointer), 64, int(sizes[event - 1])) == 0
        pointers[event] = pointer
    else:
        libc.free(pointers.pop(-event))
    peak = max(peak, held() - before)
print(peak)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
@pytest.mark.parametrize("seed", range(3))
def test_it_holds_about_what_glibc_holds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same requests in a process that does nothing else, so that nothing small takes the cut-off pieces."""
    monkeypatch.setattr("perftune.plan.glibc_heap.PINNED", 10**9)
    assert PINNED < 10**9
    rng = np.random.default_rng(seed)
    sizes = (2 ** rng.uniform(11, 22, 600)).round().tolist()
    events: list[int] = []
    alive: list[int] = []
    for number in range(600):
        events.append(number + 1)
        alive.append(number + 1)
        while len(alive) > 60:
            events.append(-alive.pop(int(rng.integers(len(alive)))))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REAL)],
        input=repr((events, sizes)), capture_output=True, text=True, check=False, env={},
    )  # fmt: skip
    if "mallinfo2" in done.stderr or "libc.so.6" in done.stderr:
        pytest.skip("another libc, or glibc before 2.33")
    assert done.returncode == 0, done.stderr
    assert resident_peak(program(events, sizes), 1) == pytest.approx(int(done.stdout), rel=0.05)
