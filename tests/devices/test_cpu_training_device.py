"""The CPU as a training device, with torch running out of memory for real, in a process of its own."""

import json
import subprocess
import sys
from typing import Any

import pytest

from perftune.devices.cpu import CpuTrainingDevice

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_DATA")

SOURCE = """
import json, os, threading, torch
from perftune.devices import training_device
MIB = 2**20
cpu = training_device("cpu")

def peak_in_a_fork():
    read, write = os.pipe()
    if os.fork() == 0:
        linear = torch.nn.Linear(1024, 1024)
        start = cpu.used_bytes()
        assert cpu.reset_peak()
        linear(torch.ones(16384, 1024)).sum().backward()
        os.write(write, str(cpu.peak().bytes - start).encode())
        os._exit(0)
    os.wait()
    return int(os.read(read, 100))

seen = {"peaks": [peak_in_a_fork() for _ in range(3)]}
linear = torch.nn.Linear(1024, 1024)
linear(torch.ones(8, 1024)).sum().backward()

def attempt(name, work):
    try:
        work()
        seen[name] = "fits"
    except BaseException as error:
        seen[name] = "out of memory" if cpu.is_out_of_memory(error) else repr(error)

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
    done = subprocess.run([sys.executable, "-c", SOURCE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_under_the_cap_torch_and_python_run_out_cleanly(seen: Any) -> None:
    assert seen["small"] == "fits"
    assert [seen[name] for name in ("large", "training", "python", "threads")] == ["out of memory"] * 4


def test_another_error_under_the_cap_is_another_error(seen: Any) -> None:
    assert "mat1 and mat2" in seen["wrong"]


def test_once_the_cap_is_lifted_there_is_memory_again(seen: Any) -> None:
    assert seen["after"] == "fits"


def test_the_peak_of_a_forked_process_repeats_and_holds_what_was_allocated(seen: Any) -> None:
    input_and_output = 2 * 16384 * 1024 * 4
    assert min(seen["peaks"]) >= input_and_output
    assert max(seen["peaks"]) - min(seen["peaks"]) <= 0.005 * max(seen["peaks"])


def test_the_clock_goes_forward(seen: Any) -> None:
    assert seen["seconds"] > 0


@pytest.mark.parametrize(
    ("text", "is_memory"),
    [
        ("could not create a primitive", True),
        ("could not create a memory object", True),
        ("could not create a primitive descriptor for a matmul primitive", False),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_under_a_cap_a_kernel_that_onednn_cannot_make_is_out_of_memory(text: str, is_memory: bool) -> None:
    device = CpuTrainingDevice()
    assert not device.is_out_of_memory(RuntimeError(text)), "without a cap it means something else"
    device._was_capped = True
    assert device.is_out_of_memory(RuntimeError(text)) == is_memory
