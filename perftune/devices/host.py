"""This machine to a `Device` and the software on it to `Versions`, without importing any of that software."""

import math
import os
import platform
import re
from importlib import metadata
from pathlib import Path

import perftune.devices.cgroup as cgroup
from perftune.errors import DeviceError
from perftune.records.device import Device, Versions
from perftune.units import KIB

INSTRUCTION_SETS = (
    "fma", "avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16",
    "asimd", "bf16", "sve", "sve2",
)  # fmt: skip
"""Those that decide which kernels of torch run, as the kernel spells them: x86 first, then ARM."""

PACKAGES = (
    "accelerate", "bitsandbytes", "datasets", "liger-kernel", "numpy", "nvidia-ml-py", "peft", "tokenizers", "torch",
    "torchao", "transformers", "trl",
)  # fmt: skip
"""Distributions whose version changes what a measurement means."""


def cpu_device(root: Path = Path("/")) -> Device:
    """The CPU of this machine, as far as this process may use it.

    Args:
        root: the folder in which ``proc`` and ``sys`` lie.

    Raises:
        DeviceError: the system does not tell how much memory it has.
    """
    cpuinfo = _cpuinfo(root)
    flags = (cpuinfo.get("flags") or cpuinfo.get("Features") or "").split()
    return Device(
        kind="cpu",
        name=cpuinfo.get("model name") or platform.processor() or platform.machine() or "CPU",
        memory_bytes=total_memory_bytes(root),
        num_cores=num_cores(root),
        instruction_sets=tuple(name for name in INSTRUCTION_SETS if name in flags),
    )


def num_cores(root: Path = Path("/")) -> int:
    """CPU cores that this process may use: by its affinity, and by its cgroup's share of time, rounded up."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup.cpu_quota(root)
    return bound if quota is None else max(1, min(bound, math.ceil(quota)))


def total_memory_bytes(root: Path = Path("/")) -> int:
    """Memory of the machine, or of the container where that has less.

    Raises:
        DeviceError: the system does not tell.
    """
    total = _meminfo(root).get("MemTotal") or _physical_bytes()
    limit = cgroup.memory_limit_bytes(root)
    return total if limit is None else min(total, limit)


def available_memory_bytes(root: Path = Path("/")) -> int:
    """Memory that new processes can have without swapping: of the machine, or of the container where that has less.

    Where the system tells only its total, that.

    Raises:
        DeviceError: the system does not tell even that.
    """
    available = _meminfo(root).get("MemAvailable") or _physical_bytes()
    room = cgroup.available_bytes(root)
    return available if room is None else min(available, room)


def versions() -> Versions:
    """Python, perftune and those of `PACKAGES` that are installed."""
    installed = {name: version for name in PACKAGES if (version := _version(name)) is not None}
    return Versions(python=platform.python_version(), perftune=_version("perftune") or "unknown", packages=installed)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cpuinfo(root: Path) -> dict[str, str]:
    """The fields of the first core."""
    try:
        first = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n", 1)[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def _meminfo(root: Path) -> dict[str, int]:
    """Fields of ``/proc/meminfo`` in bytes."""
    try:
        text = (root / "proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return {}
    return {name: int(kib) * KIB for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def _physical_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError) as error:
        raise DeviceError("this system does not tell how much memory it has; tune on Linux or macOS") from error
