"""Resident memory, its peak and the cap, each in a real process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perftune.devices import process_memory
from perftune.errors import DeviceError
from perftune.units import MIB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

PRELUDE = """
import json
from perftune.devices.process_memory import *
MIB = 2**20
"""


def run(source: str) -> Any:
    """What a fresh interpreter prints, as JSON."""
    done = subprocess.run([sys.executable, "-c", PRELUDE + source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_resident_bytes_follow_an_allocation_and_its_end() -> None:
    before, during, after = run(
        "before = resident_bytes(); block = bytearray(200 * MIB); during = resident_bytes(); del block\n"
        "print(json.dumps([before, during, resident_bytes()]))"
    )
    assert during - before == pytest.approx(200 * MIB, rel=0.02)
    assert after - before == pytest.approx(0, abs=4 * MIB)


def test_the_peak_stays_until_it_is_reset() -> None:
    start, high, reset, low, resident = run(
        "start = resident_bytes(); block = bytearray(200 * MIB); del block; high = peak_resident_bytes()\n"
        "reset = reset_peak_resident(); low = peak_resident_bytes()\n"
        "print(json.dumps([start, high, reset, low, resident_bytes()]))"
    )
    assert reset is True
    assert high - start == pytest.approx(200 * MIB, rel=0.02)
    assert low == pytest.approx(resident, abs=2 * MIB)


def test_the_peak_of_the_same_work_repeats() -> None:
    peaks = run(
        "import os\n"
        "def peak():\n"
        "    read, write = os.pipe()\n"
        "    if os.fork() == 0:\n"
        "        start = resident_bytes(); reset_peak_resident(); [bytearray(MIB) for _ in range(150)]\n"
        "        os.write(write, str(peak_resident_bytes() - start).encode()); os._exit(0)\n"
        "    os.wait(); return int(os.read(read, 100))\n"
        "print(json.dumps([peak() for _ in range(3)]))"
    )
    assert max(peaks) - min(peaks) <= 0.01 * max(peaks)
    assert min(peaks) >= 150 * MIB


def test_beyond_the_cap_an_allocation_fails_and_within_it_does_not() -> None:
    assert run(
        "seen = []\n"
        "def allocate(size):\n"
        "    try: bytearray(size); seen.append('fits')\n"
        "    except MemoryError: seen.append('fails')\n"
        "cap_memory(100 * MIB); allocate(80 * MIB); allocate(120 * MIB)\n"
        "lift_memory_cap(); allocate(120 * MIB)\n"
        "print(json.dumps(seen))"
    ) == ["fits", "fails", "fits"]


def test_a_second_cap_replaces_the_first_and_lifting_restores_what_was_before() -> None:
    first, second, before, after = run(
        "import resource\n"
        "limits = lambda: resource.getrlimit(resource.RLIMIT_DATA)\n"
        "before = limits(); cap_memory(100 * MIB); first = limits()[0]; cap_memory(300 * MIB); second = limits()[0]\n"
        "lift_memory_cap(); lift_memory_cap()\n"
        "print(json.dumps([first, second, before, limits()]))"
    )
    assert second - first == pytest.approx(200 * MIB, abs=MIB)
    assert after == before


def test_the_cap_leaves_out_address_space_that_is_only_reserved() -> None:
    assert (
        run(
            "import mmap\n"
            "cap_memory(50 * MIB)\n"
            "reserved = mmap.mmap(-1, 500 * MIB, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
            "print(json.dumps(len(reserved) // MIB))"
        )
        == 500
    )


def test_a_cap_over_the_hard_limit_is_refused() -> None:
    message = run(
        "import resource\n"
        "from perftune.errors import DeviceError\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (500 * MIB, 500 * MIB))\n"
        "try: cap_memory(2000 * MIB)\n"
        "except DeviceError as error: print(json.dumps(str(error)))"
    )
    assert "hard limit" in message
    assert "target.memory" in message


def test_what_workers_hold_for_themselves_is_counted_and_what_they_share_is_not() -> None:
    alone, with_worker = run(
        "import os, signal\n"
        "shared = bytearray(100 * MIB); alone = children_private_bytes()\n"
        "read, write = os.pipe()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    own = bytearray(60 * MIB); os.write(write, b'.'); signal.pause()\n"
        "os.read(read, 1); seen = children_private_bytes(); os.kill(child, signal.SIGKILL); os.wait()\n"
        "print(json.dumps([alone, seen]))"
    )
    assert alone == 0
    assert with_worker == pytest.approx(60 * MIB, rel=0.2)


def test_without_proc_the_message_says_where_it_works(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="tune on Linux"):
        process_memory.status_bytes("VmRSS", tmp_path / "status")
    (tmp_path / "status").write_text("Name:\tpython\n")
    with pytest.raises(DeviceError, match="has no VmRSS"):
        process_memory.status_bytes("VmRSS", tmp_path / "status")
