"""The machine as read from /proc, a made-up one and this one."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from perftune.devices import host
from perftune.errors import DeviceError
from perftune.units import GIB, KIB

X86 = """processor\t: 0
model name\t: Some(R) CPU @ 2.60GHz
flags\t\t: fpu sse2 fma avx2 avx512f avx512_bf16 amx_bf16 avx512_vnni

processor\t: 1
model name\t: never read
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd crc32 bf16 sve\n"
MEMINFO = "MemTotal:       16777216 kB\nMemFree:         1000 kB\nMemAvailable:    8388608 kB\nHugePages_Total:    0\n"


def machine(root: Path, cpuinfo: str = X86, memory_max: str = "max") -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text(cpuinfo)
    (root / "proc/meminfo").write_text(MEMINFO)
    (root / "proc/self/cgroup").write_text("0::/\n")
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/memory.max").write_text(memory_max)
    (root / "sys/fs/cgroup/memory.current").write_text(str(GIB))
    return root


def test_an_x86_machine(tmp_path: Path) -> None:
    device = host.cpu_device(machine(tmp_path))
    assert (device.kind, device.name, device.memory_bytes) == ("cpu", "Some(R) CPU @ 2.60GHz", 16 * GIB)
    assert device.instruction_sets == ("fma", "avx2", "avx512f", "avx512_bf16", "amx_bf16")


def test_an_arm_machine_has_no_model_name(tmp_path: Path) -> None:
    device = host.cpu_device(machine(tmp_path, ARM))
    assert device.name
    assert device.instruction_sets == ("asimd", "bf16", "sve")


@pytest.mark.parametrize(
    ("memory_max", "total", "available"),
    [("max", 16 * GIB, 8 * GIB), (str(4 * GIB), 4 * GIB, 3 * GIB), (str(64 * GIB), 16 * GIB, 8 * GIB)],
)
def test_a_container_has_what_it_is_given(tmp_path: Path, memory_max: str, total: int, available: int) -> None:
    root = machine(tmp_path, memory_max=memory_max)
    assert host.total_memory_bytes(root) == total
    assert host.available_memory_bytes(root) == available


@pytest.mark.parametrize(("quota", "expected"), [("50000 100000", 1), ("1000000 1000", None)])
def test_cores_are_bound_by_the_share_of_time(tmp_path: Path, quota: str, expected: int | None) -> None:
    root = machine(tmp_path)
    (root / "sys/fs/cgroup/cpu.max").write_text(quota)
    assert host.num_cores(root) == (expected or len(os.sched_getaffinity(0)))


def test_without_proc_the_system_is_asked(tmp_path: Path) -> None:
    device = host.cpu_device(tmp_path)
    assert device.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert device.instruction_sets == ()


def test_a_system_that_tells_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf")
    with pytest.raises(DeviceError, match="how much memory"):
        host.total_memory_bytes(tmp_path)


def test_this_machine() -> None:
    device = host.cpu_device()
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 64 * KIB < host.available_memory_bytes() <= device.memory_bytes <= physical
    assert device.num_cores is not None
    assert 1 <= device.num_cores <= (os.cpu_count() or 1)


def test_versions_are_those_installed() -> None:
    versions = host.versions()
    assert versions.packages["torch"] == metadata.version("torch")
    assert versions.packages["transformers"] == metadata.version("transformers")
    assert set(versions.packages) <= set(host.PACKAGES)


def test_nothing_heavy_is_imported() -> None:
    source = (
        "import sys; from perftune.devices import host, training_device; host.cpu_device(); host.versions();"
        "training_device('cpu').peak(); sys.exit(str({'torch', 'transformers', 'pynvml', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
