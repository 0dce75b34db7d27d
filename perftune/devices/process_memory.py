"""The kernel's account of this process (``/proc/self``) to bytes in use, their high-water mark, and a cap on them.

Source of the fields: proc(5), getrlimit(2). Nothing here imports torch.
"""

import os
import sys
from pathlib import Path

from perftune.errors import DeviceError
from perftune.units import KIB

if sys.platform != "win32":
    import resource

_PROC = Path("/proc/self")
_RESET_PEAK = "5"
"""Written to ``clear_refs``, it sets VmHWM to VmRSS; proc(5), since Linux 4.0."""

_limit_before_cap: tuple[int, int] | None = None


def status_bytes(field: str, status: Path = _PROC / "status") -> int:
    """A field of ``/proc/<pid>/status`` that is given in kB, in bytes.

    Raises:
        DeviceError: the system has no such file or the file no such field.
    """
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        raise DeviceError(
            f"the memory of a process on the CPU is read from {status}, which cannot be read here ({error.strerror}); "
            "tune on Linux, or on a CUDA device"
        ) from error
    for line in lines:
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * KIB
    raise DeviceError(f"{status} has no {field}; tune on Linux 4.5 or later, or on a CUDA device")


def resident_bytes() -> int:
    """Bytes of this process in physical memory now; libraries and pages shared with the parent are counted.

    Raises:
        DeviceError: not Linux.
    """
    return status_bytes("VmRSS")


def peak_resident_bytes() -> int:
    """The most that `resident_bytes` was since the start of the process or the last `reset_peak_resident`.

    Raises:
        DeviceError: not Linux.
    """
    return status_bytes("VmHWM")


def reset_peak_resident() -> bool:
    """Set the high-water mark to what is resident now.

    Returns:
        Whether that is possible here; if not, `peak_resident_bytes` goes on counting from the start.
    """
    try:
        (_PROC / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def children_private_bytes() -> int:
    """Bytes that all descendants of this process (data loader workers) hold for themselves alone, now.

    Pages that a forked worker still shares with its parent are not counted twice; nor is shared memory, in which
    workers hand tensors over. What cannot be read (a process that just ended, another system) counts as 0.
    """
    return sum(_private_bytes(pid) for pid in _descendants(os.getpid()))


def _descendants(pid: int) -> list[int]:
    children = [child for task in Path(f"/proc/{pid}/task").glob("*/children") for child in _children(task)]
    return children + [grandchild for child in children for grandchild in _descendants(child)]


def _children(task: Path) -> list[int]:
    try:
        return [int(child) for child in task.read_text(encoding="ascii").split()]
    except OSError:
        return []


def _private_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * KIB for line in lines if line.startswith("Private_"))


def cap_memory(limit_bytes: int) -> None:
    """Let this process allocate so many bytes more than it has now.

    Beyond, allocations fail as they do when memory is out: torch raises ``DefaultCPUAllocator: can't allocate memory``,
    Python MemoryError. The limit is RLIMIT_DATA: private writable memory, touched or not, thread stacks in full (8 MiB
    each by default). Unlike RLIMIT_AS it leaves out mapped files and address space that is only reserved (64 MiB for
    each glibc arena). It does not count shared mappings (tensors that data loader workers hand over), and each child
    process, which inherits it, is counted by itself. The limit is soft: `lift_memory_cap` undoes it.

    Args:
        limit_bytes: bytes over what the process has at this moment.

    Raises:
        DeviceError: not Linux, or the limit is over what the system lets this process have.
    """
    global _limit_before_cap
    soft = status_bytes("VmData") + limit_bytes
    before = _limit_before_cap or resource.getrlimit(resource.RLIMIT_DATA)
    hard = before[1]
    if hard != resource.RLIM_INFINITY and soft > hard:
        raise DeviceError(
            f"a cap of {limit_bytes:,} bytes is over the hard limit that this process runs under "
            f"(RLIMIT_DATA, {hard:,} bytes); lower target.memory, or raise the limit with `ulimit -Hd`"
        )
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    _limit_before_cap = before


def lift_memory_cap() -> None:
    """Undo `cap_memory`, so that a failure can be described with memory to spare; without a cap nothing happens."""
    global _limit_before_cap
    if _limit_before_cap is not None:
        resource.setrlimit(resource.RLIMIT_DATA, _limit_before_cap)
        _limit_before_cap = None
