"""The kernel's counters, from a copy of its files."""

import os
import threading
from pathlib import Path

import pytest

from perftune.devices.disturbance import Disturbance, DisturbanceCounters

TICKS = os.sysconf("SC_CLK_TCK")
CPUINFO = "processor\t: 0\ncpu MHz\t\t: 2000.000\nprocessor\t: 1\ncpu MHz\t\t: 3000.500\n"


class Kernel:
    """A root whose files a test writes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="ascii")

    def thread(self, number: int, running: int, waiting: int) -> None:
        self.write(f"proc/self/task/{number}/schedstat", f"{running} {waiting} 7\n")

    def steal(self, ticks: int) -> None:
        self.write("proc/stat", f"cpu  10 20 30 40 50 60 70 {ticks} 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\n")


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_waits_are_summed_over_the_threads_that_computed(kernel: Kernel) -> None:
    counters = DisturbanceCounters(kernel.root)
    kernel.thread(1, 10**9, 10**9)
    kernel.thread(2, 10**9, 10**9)
    kernel.thread(3, 10**9, 10**9)
    kernel.steal(5 * TICKS)
    before = counters.read()
    kernel.thread(1, 2 * 10**9, 10**9 + 250_000_000)
    kernel.thread(2, 3 * 10**9, 10**9 + 500_000_000)
    kernel.thread(3, 10**9, 4 * 10**9)
    kernel.thread(4, 300_000_000, 1_000_000_000)
    kernel.thread(5, 100_000_000, 5_000_000_000)
    kernel.steal(8 * TICKS)
    found = counters.since(before)
    assert found == Disturbance(pytest.approx(1.75), 3, pytest.approx(3.0)), (
        "the third did nothing, the fifth next to nothing"
    )


def test_a_gpu_goes_on_while_threads_wait(kernel: Kernel) -> None:
    counters = DisturbanceCounters(kernel.root, device="cuda")
    kernel.thread(1, 10**9, 10**9)
    before = counters.read()
    kernel.thread(1, 2 * 10**9, 2 * 10**9)
    assert counters.since(before) == Disturbance(pytest.approx(1.0), 0, None)


def test_a_thread_that_has_ended_is_left_out(kernel: Kernel) -> None:
    counters = DisturbanceCounters(kernel.root)
    kernel.thread(1, 0, 0)
    kernel.thread(2, 0, 0)
    before = counters.read()
    kernel.thread(1, 5, 1_000_000_000)
    (kernel.root / "proc/self/task/2/schedstat").unlink()
    assert counters.since(before) == Disturbance(pytest.approx(1.0), 1, None)


@pytest.mark.parametrize("text", ["", "cpu 1 2 3", "cpu a b c d e f g h i", "intr 5"])
def test_what_the_kernel_does_not_tell_is_none(kernel: Kernel, text: str) -> None:
    counters = DisturbanceCounters(kernel.root)
    kernel.write("proc/stat", text)
    kernel.write("proc/self/task/1/schedstat", "")
    assert counters.since(counters.read()) == Disturbance(None, 0, None)
    assert counters.clock_hertz() is None


def test_clocks_are_those_of_cpufreq_where_it_is_there(kernel: Kernel) -> None:
    counters = DisturbanceCounters(kernel.root)
    kernel.write("proc/cpuinfo", CPUINFO)
    assert counters.clock_hertz() == pytest.approx(2.50025e9)
    for core, kilohertz in ((0, 1_000_000), (10, 3_000_000)):
        kernel.write(f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", f"{kilohertz}\n")
    kernel.write("sys/devices/system/cpu/cpufreq/scaling_cur_freq", "1\n")
    assert counters.clock_hertz() == pytest.approx(2e9)


def test_a_process_that_shares_a_core_is_seen_to_wait() -> None:
    counters = DisturbanceCounters()
    cores = os.sched_getaffinity(0)
    rival = os.fork()
    if rival == 0:
        os.sched_setaffinity(0, {min(cores)})
        while True:
            pass
    try:
        os.sched_setaffinity(threading.get_native_id(), {min(cores)})
        before = counters.read()
        while (found := counters.since(before)).run_queue_seconds == 0:
            sum(range(10_000))
    finally:
        os.sched_setaffinity(threading.get_native_id(), cores)
        os.kill(rival, 9)
        os.waitpid(rival, 0)
    assert found.run_queue_seconds is not None
    assert found.num_threads >= 1
