"""The start of a trial after the first, against a fresh interpreter that imports the same, in pairs taken in turns.

pytest benchmarks/test_trial_start.py --benchmark-enable -s
"""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from perftune.isolation.connection import Connection
from perftune.isolation.protocol import PRELOAD, SERVER_ENVIRONMENT, ForkRequest
from perftune.statistics import median_interval

NUM_PAIRS = 7
NUMBERS = itertools.count(1)
GOAL_RATIO = 10.0

TASK = """
import time
from pathlib import Path

def note_the_time(directory: Path) -> None:
    (directory / "started").write_text(repr(time.monotonic()))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "start_task.py").write_text(TASK)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        connection = Connection((*PRELOAD, "start_task"), folder / "server.log")
    yield connection
    connection.close()


def forked_seconds(server: Connection, directory: Path) -> float:
    """From the request to the first line of the task."""
    asked = time.monotonic()
    number = next(NUMBERS)
    server.fork(ForkRequest(number, "start_task:note_the_time", str(directory), {}))
    while server.status(number) is None:
        server.poll(1.0)
    return float((directory / "started").read_text()) - asked


def fresh_seconds(directory: Path) -> float:
    """From starting an interpreter to the line after the same imports."""
    imports = "\n".join(f"import {module}" for module in PRELOAD)
    note = f"import time; open({str(directory / 'fresh')!r}, 'w').write(repr(time.monotonic()))"
    asked = time.monotonic()
    environment = {**SERVER_ENVIRONMENT, "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", f"{imports}\n{note}"], check=True, capture_output=True, env=environment)
    return float((directory / "fresh").read_text()) - asked


def test_start_of_a_trial(benchmark: Any, server: Connection, tmp_path: Path) -> None:
    forked_seconds(server, tmp_path)
    pairs = [(forked_seconds(server, tmp_path), fresh_seconds(tmp_path)) for _ in range(NUM_PAIRS)]
    benchmark.pedantic(lambda: forked_seconds(server, tmp_path), rounds=20)
    seconds = median(forked for forked, _ in pairs)
    ratio, low, high = median_interval([fresh / forked for forked, fresh in pairs])
    benchmark.extra_info.update(start_seconds=seconds, fresh_over_forked=ratio, low=low, high=high, pairs=pairs)
    print(
        f"start of a trial: {seconds * 1e3:.1f} ms; a fresh interpreter takes {ratio:.0f} times as long "
        f"({low:.0f} to {high:.0f})"
    )
    assert high >= GOAL_RATIO
