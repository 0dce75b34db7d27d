"""Time of ``perftune --help`` beside that of an empty Python, in turns. Goal: at most 0.3 s, torch not loaded."""

import subprocess
import sys
import time
from statistics import median
from typing import Any

HELP = [sys.executable, "-m", "perftune", "--help"]
EMPTY = [sys.executable, "-c", "pass"]
ROUNDS = 15
MOST_TIMES_EMPTY = 15
"""An empty Python takes about 20 ms where the goal of 0.3 s was set: so it holds on a slower machine too."""


def seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def test_help_starts_fast(benchmark: Any) -> None:
    empty: list[float] = []
    benchmark.pedantic(
        lambda: seconds(HELP), setup=lambda: empty.append(seconds(EMPTY)), rounds=ROUNDS, warmup_rounds=2
    )
    benchmark.extra_info["empty_python_seconds"] = median(empty)
    benchmark.extra_info["goal_seconds"] = 0.3
    assert benchmark.stats.stats.median < MOST_TIMES_EMPTY * median(empty)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom perftune.cli import main\nmain(['--help'])\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pandas', 'pydantic', 'optuna'} & set(sys.modules)\n"
        "sys.exit(str(sorted(heavy)) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
