"""What the kernel counts of this process and machine to what disturbed a stretch of work. No torch.

Source of the fields: proc(5); sched-stats.rst and cpufreq.rst of the kernel's documentation. On other systems than
Linux, and where a container hides a file, nothing is told.
"""

import contextlib
import os
from pathlib import Path
from statistics import mean
from typing import NamedTuple

NANOSECOND = 1e-9
COMPUTING_SHARE = 0.1
"""A thread computed if it was on a core for more than this part of the time of the busiest: others, of the data loader
or of a library, are not waited for."""
STEAL_FIELD = 8
"""Of the line ``cpu`` in /proc/stat, its name being field 0."""


class Reading(NamedTuple):
    """The counters at one moment."""

    threads: dict[int, tuple[int, int]] | None
    """Thread -> nanoseconds on a core, nanoseconds waiting for one."""
    steal_seconds: float | None


class Disturbance(NamedTuple):
    """What kept a stretch of work from the cores; None is what nobody tells."""

    run_queue_seconds: float | None
    """Waiting for a core, summed over the threads that computed."""
    num_threads: int
    """That computed."""
    steal_seconds: float | None
    """Taken by the hypervisor, summed over the cores."""


class DisturbanceCounters:
    """Reads the counters of this process; with another root, of a copy of these files."""

    def __init__(self, root: Path = Path("/"), *, device: str = "cpu") -> None:
        """
        Args:
            root: where the files lie.
            device: what computes, as torch names it. Where that is no CPU, what threads waited for is told, but none
                is said to have computed: the device goes on while they wait, so a wait is no part of the time.
        """
        self._root, self._threads_compute = root, device == "cpu"

    def read(self) -> Reading:
        """Now."""
        return Reading(self._threads(), self._steal_seconds())

    def since(self, before: Reading) -> Disturbance:
        """From a reading until now. A thread that has ended on the way is not counted."""
        now = self.read()
        waited_seconds, num_threads = None, 0
        if now.threads is not None and before.threads is not None:
            grown = [_minus(counts, before.threads.get(thread, (0, 0))) for thread, counts in now.threads.items()]
            busiest = max((running for running, _ in grown), default=0)
            waits = [waiting for running, waiting in grown if running > COMPUTING_SHARE * busiest]
            waited_seconds, num_threads = sum(waits) * NANOSECOND, len(waits) if self._threads_compute else 0
        stolen_seconds = None
        if now.steal_seconds is not None and before.steal_seconds is not None:
            stolen_seconds = now.steal_seconds - before.steal_seconds
        return Disturbance(waited_seconds, num_threads, stolen_seconds)

    def clock_hertz(self) -> float | None:
        """Mean frequency of the cores now: by cpufreq where it is there, else as /proc/cpuinfo has it."""
        kilohertz = []
        for path in self._root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"):
            with contextlib.suppress(OSError, ValueError):
                kilohertz.append(float(path.read_text(encoding="ascii")))
        if kilohertz:
            return mean(kilohertz) * 1e3
        with contextlib.suppress(OSError, ValueError):
            lines = (self._root / "proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
            megahertz = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
            return mean(megahertz) * 1e6 if megahertz else None
        return None

    def _threads(self) -> dict[int, tuple[int, int]] | None:
        found = {}
        for path in self._root.glob("proc/self/task/*/schedstat"):
            with contextlib.suppress(OSError, ValueError, IndexError):  # a thread may end while it is looked at
                running, waiting, *_ = map(int, path.read_text(encoding="ascii").split())
                found[int(path.parent.name)] = (running, waiting)
        return found or None

    def _steal_seconds(self) -> float | None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            ticks = (self._root / "proc/stat").read_text(encoding="ascii").split(maxsplit=STEAL_FIELD + 1)[STEAL_FIELD]
            return int(ticks) / os.sysconf("SC_CLK_TCK")
        return None


def _minus(later: tuple[int, int], earlier: tuple[int, int]) -> tuple[int, int]:
    return later[0] - earlier[0], later[1] - earlier[1]
