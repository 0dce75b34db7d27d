"""The CPU as a training device: the wall clock, the resident memory of the process and RLIMIT_DATA."""

import time
from typing import Any

import perftune.devices.process_memory as process_memory
from perftune.devices.out_of_memory import causes, is_host_out_of_memory, says
from perftune.devices.training_device import Peak
from perftune.records.device import Telemetry

THREAD_TEXTS = ("can't start new thread", "Resource temporarily unavailable")
"""A thread whose stack does not fit under the cap; without a cap it is the number of threads that ran out."""
ONEDNN_TEXTS = ("could not create a primitive", "could not create a memory object")
"""oneDNN says no more than this (oneapi/dnnl/dnnl.hpp, ``error::wrap_c_api``) where its kernels, which it compiles
when they are first used, do not fit under the cap. A "primitive descriptor" that cannot be made is another matter."""


class CpuTrainingDevice:
    """This process on this CPU."""

    kind = "cpu"
    memory_kind = "resident"

    def __init__(self) -> None:
        self._was_capped = False

    def synchronize(self) -> None:
        """The CPU has always done what it was given."""

    def mark(self) -> float:
        """Now, in seconds of the monotonic performance counter."""
        return time.perf_counter()

    def seconds_between(self, start: Any, end: Any) -> float:
        """Seconds of wall time."""
        return float(end - start)

    def used_bytes(self) -> int:
        """Resident bytes of the process."""
        return process_memory.resident_bytes()

    def reset_peak(self) -> bool:
        """Set the resident high-water mark to what is resident now."""
        return process_memory.reset_peak_resident()

    def peak(self) -> Peak:
        """The resident high-water mark."""
        return Peak(bytes=self.peak_bytes())

    def peak_bytes(self) -> int:
        """The resident high-water mark in bytes."""
        return process_memory.peak_resident_bytes()

    def empty_cache(self) -> None:
        """The CPU allocator holds nothing back."""

    def cap(self, limit_bytes: int) -> None:
        """Let the process allocate so many bytes more than it has now; see `process_memory.cap_memory`."""
        process_memory.cap_memory(limit_bytes)
        self._was_capped = True

    def lift_cap(self) -> None:
        """Undo `cap`."""
        process_memory.lift_memory_cap()

    def telemetry(self) -> Telemetry | None:
        """Nobody tells."""
        return None

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an exception says that the memory of the process ran out.

        Under a cap, now or before, a thread that cannot be started and a kernel that oneDNN cannot make count too.
        """
        if is_host_out_of_memory(error):
            return True
        return self._was_capped and any(says(cause, THREAD_TEXTS) or _is_onednn(cause) for cause in causes(error))


def _is_onednn(error: BaseException) -> bool:
    return says(error, ONEDNN_TEXTS) and "descriptor" not in str(error)
