"""What a trial needs of the device that it trains on: its clock, its memory, a cap on that, and how it runs out."""

from typing import Any, NamedTuple, Protocol

from perftune.records.device import Telemetry


class Peak(NamedTuple):
    """The most memory in use since the last reset; what a device does not have is None."""

    bytes: int
    """What a limit is compared with. CPU: resident; CUDA: reserved by the caching allocator."""
    allocated_bytes: int | None = None
    """CUDA: held by tensors."""
    reserved_bytes: int | None = None
    """CUDA: held by the caching allocator, tensors included; the CUDA context is not."""
    num_alloc_retries: int | None = None
    """CUDA: times the allocator had to give everything cached back and try again, since the process began."""


class TrainingDevice(Protocol):
    """One kind of device, seen from the process that trains on it."""

    kind: str
    """``cpu`` or ``cuda``."""
    memory_kind: str
    """What `Peak` counts: ``resident`` or ``allocated``."""

    def synchronize(self) -> None:
        """Wait until the device has done everything that it was given."""

    def mark(self) -> Any:
        """A moment in the work of the device."""

    def seconds_between(self, start: Any, end: Any) -> float:
        """Seconds from one moment to a later one; call `synchronize` after the later one first."""

    def used_bytes(self) -> int:
        """Memory in use now, counted as in `Peak.bytes`."""

    def reset_peak(self) -> bool:
        """Start a new peak from what is in use now; False where that is not possible."""

    def peak(self) -> Peak:
        """The peak since the last reset."""

    def peak_bytes(self) -> int:
        """`Peak.bytes` alone."""

    def empty_cache(self) -> None:
        """Give back what is held but not used."""

    def cap(self, limit_bytes: int) -> None:
        """Let allocations fail beyond so many bytes (CPU: more than now; CUDA: of this process).

        Raises:
            DeviceError: the device cannot be limited to that.
        """

    def lift_cap(self) -> None:
        """Undo `cap`."""

    def telemetry(self) -> Telemetry | None:
        """Clocks, heat and what else is running on the device; None where nobody tells."""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an exception says that the memory of this device, or of the process, ran out."""
