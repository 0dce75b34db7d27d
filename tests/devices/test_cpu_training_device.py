"""The CPU as a training device, with torch running out of memory for real, in a process of its own."""

import json
import subprocess
import sys
from typing import Any

import pytest

from perftune.units import MIB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_DATA")

SOURCE = """
import json, threading, torch
from perftune.devices import training_device
MIB = 2**20
cpu = training_device("cpu")
linear = torch.nn.Linear(1024, 1024)
linear(torch.ones(8, 1024)).sum().backward()
seen = {}

def attempt(name, work):
    try:
        work()
        seen[name] = "fits"
    except BaseException as error:
        seen[name] = "out of memory" if cpu.is_out_of_memory(error) else repr(error)

def peak(batch):
    start = cpu.used_bytes()
    assert cpu.reset_peak()
    linear(torch.ones(batch, 1024)).sum().backward()
    return cpu.peak_bytes() - start

peak(1024)
seen["peaks"] = [peak(16384) for _ in range(3)]
cpu.cap(64 * MIB)
attempt("small", lambda: torch.ones(4 * MIB))
attempt("large", lambda: torch.ones(64 * MIB))
attempt("training", lambda: linear(torch.ones(65536, 1024)).sum().backward())
attempt("python", lambda: bytearray(256 * MIB))
attempt("wrong", lambda: linear(torch.ones(8, 3)))
threads = [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(64)]
attempt("threads", lambda: [thread.start() for thread in threads])
cpu.lift_cap()
attempt("after", lambda: torch.ones(64 * MIB))
start = cpu.mark()
cpu.synchronize()
seen["seconds"] = cpu.seconds_between(start, cpu.mark())
cpu.empty_cache()
print(json.dumps(seen), flush=True)
"""


@pytest.fixture(scope="module")
def seen() -> Any:
    done = subprocess.run([sys.executable, "-c", SOURCE], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_under_the_cap_torch_and_python_run_out_cleanly(seen: Any) -> None:
    assert seen["small"] == "fits"
    assert [seen[name] for name in ("large", "training", "python", "threads")] == ["out of memory"] * 4


def test_another_error_under_the_cap_is_another_error(seen: Any) -> None:
    assert "mat1 and mat2" in seen["wrong"]


def test_once_the_cap_is_lifted_there_is_memory_again(seen: Any) -> None:
    assert seen["after"] == "fits"


def test_the_peak_repeats_and_holds_what_was_allocated(seen: Any) -> None:
    assert min(seen["peaks"]) >= 2 * 16384 * 1024 * 4
    assert max(seen["peaks"]) - min(seen["peaks"]) <= 0.05 * max(seen["peaks"]) + 4 * MIB


def test_the_clock_goes_forward(seen: Any) -> None:
    assert seen["seconds"] > 0
