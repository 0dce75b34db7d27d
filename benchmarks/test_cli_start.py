"""What a help text costs beside an empty Python, wall and processor time, in turns. Goal: at most 4 times as much.

pytest benchmarks/test_cli_start.py --benchmark-enable -s
"""

import os
import subprocess
import sys
import time
from typing import Any, NamedTuple

import pytest

from perftune.statistics import median_interval

EMPTY = [sys.executable, "-c", "pass"]
NUM_PAIRS = 40
GOAL_RATIO = 4.0


class Cost(NamedTuple):
    """Of a process, from its start to its end."""

    wall_seconds: float
    cpu_seconds: float


def cost(command: list[str]) -> Cost:
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall_seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Cost(wall_seconds, used.ru_utime + used.ru_stime)


@pytest.mark.parametrize("arguments", [["--help"], ["probe", "--help"]], ids=" ".join)
def test_help_costs_little(benchmark: Any, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "perftune", *arguments]
    benchmark.pedantic(lambda: cost(command), rounds=2)
    pairs = [(cost(command), cost(EMPTY)) for _ in range(NUM_PAIRS)]
    for name in Cost._fields:
        ratio, low, high = median_interval([getattr(a, name) / getattr(b, name) for a, b in pairs])
        benchmark.extra_info[name] = {"ratio": ratio, "low": low, "high": high}
        print(f"perftune {' '.join(arguments)}, {name}: {ratio:.2f} ({low:.2f} to {high:.2f}) of an empty Python")
        assert low <= GOAL_RATIO
