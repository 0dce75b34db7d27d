"""Control groups of both versions, laid out in a folder as the kernel does."""

from pathlib import Path

import pytest

from perftune.devices import cgroup
from perftune.units import GIB

NO_LIMIT_V1 = "9223372036854771712"


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


V2 = {
    "proc/self/cgroup": "0::/job/step",
    "sys/fs/cgroup/job/memory.max": str(4 * GIB),
    "sys/fs/cgroup/job/memory.current": str(3 * GIB),
    "sys/fs/cgroup/job/memory.stat": f"anon 1\ninactive_file {GIB}",
    "sys/fs/cgroup/job/cpu.max": "150000 100000",
    "sys/fs/cgroup/job/step/memory.max": "max",
    "sys/fs/cgroup/job/step/memory.current": str(GIB),
    "sys/fs/cgroup/job/step/cpu.max": "max 100000",
}

OOM_KILLS = [
    ({"sys/fs/cgroup/job/memory.events": "oom 3\noom_kill 2\noom_group_kill 7"}, 2),
    ({"sys/fs/cgroup/job/step/memory.events": "oom_kill 1", "sys/fs/cgroup/job/memory.events": "oom_kill 2"}, 1),
    ({"proc/vmstat": "nr_free_pages 5\noom_kill 4"}, 4),
    ({"proc/vmstat": "nr_free_pages 5"}, None),
]


@pytest.mark.parametrize(("files", "kills"), OOM_KILLS)
def test_what_the_kernel_has_killed_is_counted_in_the_group_or_else_on_the_machine(
    tmp_path: Path, files: dict[str, str], kills: int | None
) -> None:
    assert cgroup.num_oom_kills(lay_out(tmp_path, {**V2, **files})) == kills


def test_what_the_kernel_has_killed_is_counted_in_version_1_too(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 6"}
    assert cgroup.num_oom_kills(lay_out(tmp_path, {**V1, **files})) == 6


V1 = {
    "proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2 * GIB),
    "sys/fs/cgroup/memory/memory.usage_in_bytes": str(GIB),
    "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 4096\ninactive_file 1",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
}

UNLIMITED_V1 = {
    "proc/self/cgroup": "4:memory:/a\n1:cpu:/",
    "sys/fs/cgroup/memory/a/memory.limit_in_bytes": NO_LIMIT_V1,
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
}


@pytest.mark.parametrize(
    ("files", "limit", "available", "quota"),
    [
        pytest.param(V2, 4 * GIB, 2 * GIB, 1.5, id="version 2, limited by a group above"),
        pytest.param(V1, 2 * GIB, GIB + 4096, 0.5, id="version 1, in a container that sees only its mount"),
        pytest.param(UNLIMITED_V1, int(NO_LIMIT_V1), None, None, id="version 1, without limits"),
        pytest.param({}, None, None, None, id="no control groups"),
        pytest.param({"proc/self/cgroup": "0::/"}, None, None, None, id="the root group"),
    ],
)
def test_limits(
    tmp_path: Path, files: dict[str, str], limit: int | None, available: int | None, quota: float | None
) -> None:
    root = lay_out(tmp_path, files)
    assert cgroup.memory_limit_bytes(root) == limit
    assert cgroup.available_bytes(root) == available
    assert cgroup.cpu_quota(root) == quota


def test_a_group_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    root = lay_out(tmp_path, {**V2, "sys/fs/cgroup/job/memory.current": str(6 * GIB)})
    assert cgroup.available_bytes(root) == 0
