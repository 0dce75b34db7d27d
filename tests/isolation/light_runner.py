"""A runner whose trials load nothing, and what its tests ask of processes."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import Candidate
from perftune.records.trial import Purpose, TrialRequest, WorkloadSource

ROOT = Path(__file__).parents[2]
ENTRIES = "tests.isolation.fault_entries"


def light_runner(directory: Path, entry: str, **options: Any) -> ForkServerRunner:
    """Runs one function of `fault_entries` as every trial."""
    return ForkServerRunner(directory, preload=(), entries={"trial": f"{ENTRIES}:{entry}"}, **options)


def request(number: int = 1, **options: Any) -> TrialRequest:
    return TrialRequest(
        number=number,
        purpose=Purpose.SEARCH,
        candidate=Candidate(settings={"per_device_train_batch_size": 8}),
        workload=WorkloadSource(working_directory="."),
        arguments={},
        **{"deadline_seconds": 120.0, **options},
    )


def pids(directory: Path, name: str) -> list[int]:
    path = directory / f"{name}.pids"
    return [int(line) for line in path.read_text(encoding="ascii").split()] if path.exists() else []


def is_alive(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether something comes true, given far more time than it needs."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
