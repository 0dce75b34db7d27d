"""The control groups of this process to the memory and the CPU time that a container leaves it, in version 1 and 2.

Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. Every group above this one limits
it too, so all are read and the tightest counts. Where there are no control groups, nothing is limited.
"""

import math
from collections.abc import Iterator
from pathlib import Path

_MOUNT = "sys/fs/cgroup"


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """What all processes of the group may have together; None without a limit (version 1 writes a huge number then)."""
    limits = [
        limit
        for group in _groups(root, "memory")
        if (limit := _number(group / "memory.max", group / "memory.limit_in_bytes")) is not None
    ]
    return min(limits, default=None)


def available_bytes(root: Path = Path("/")) -> int | None:
    """What the group may still take before it reaches a limit; file cache that can be dropped counts as free."""
    rooms = []
    for group in _groups(root, "memory"):
        limit = _number(group / "memory.max", group / "memory.limit_in_bytes")
        used = _number(group / "memory.current", group / "memory.usage_in_bytes")
        if limit is not None and used is not None:
            rooms.append(max(0, limit - used + _droppable_bytes(group)))
    return min(rooms, default=None)


def num_oom_kills(root: Path = Path("/")) -> int | None:
    """How many processes the kernel has killed for want of memory since the group is there; None where nobody counts.

    Of the group of this process, which its children are in too (memory.events, or memory.oom_control in version 1);
    without one, of the whole machine (proc_vmstat, since Linux 4.13).
    """
    counters = [group / name for group in _groups(root, "memory") for name in ("memory.events", "memory.oom_control")]
    counts = (_field(file, "oom_kill") for file in (*counters, root / "proc/vmstat"))
    return next((count for count in counts if count is not None), None)


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPU cores' worth of time that the group may use; None without a limit."""
    quotas = [quota for group in _groups(root, "cpu") if (quota := _quota(group)) is not None]
    return min(quotas, default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's group and of those above it that control something.

    In a container the path may be the host's, of which only the mount point is seen: what is not there is left out.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount = root / _MOUNT
        elif controller in controllers.split(","):
            mount = root / _MOUNT / controller
        else:
            continue
        group = mount / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mount) and folder.is_dir())


def _quota(group: Path) -> float | None:
    words = _text(group / "cpu.max").split()
    if not words:
        words = [_text(group / "cpu.cfs_quota_us").strip(), _text(group / "cpu.cfs_period_us").strip()]
    try:
        quota, period = (float(word) for word in words)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 and math.isfinite(quota) else None


def _droppable_bytes(group: Path) -> int:
    fields = dict(line.split(maxsplit=1) for line in _text(group / "memory.stat").splitlines() if " " in line)
    return int(fields.get("total_inactive_file", fields.get("inactive_file", 0)))


def _field(file: Path, name: str) -> int | None:
    """The number behind a name in a file of lines ``name number``."""
    lines = (line.split() for line in _text(file).splitlines())
    return next((int(line[1]) for line in lines if line[:1] == [name] and line[1:] and line[1].isdigit()), None)


def _number(*files: Path) -> int | None:
    """The number in the first file that has one; ``max`` is none."""
    texts = (_text(file).strip() for file in files)
    return next((int(text) for text in texts if text.isdigit()), None)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
