"""What is spent before the first trial: survey and traces of each probe, cold and from the cache.

python -m benchmarks.search.traces probes/*.yaml

Seconds by the clock, and of them what child processes computed, which a busy machine changes less. The imports of the
process that all others are forked from come on top, once a study.
"""

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.search.record import survey_request
from perftune.planning.trace_cache import TraceCache
from perftune.planning.traces import tracing_runner
from perftune.records.prior import Prior
from perftune.search import build_space
from perftune.spec import load_probe
from perftune.tuning.prior import PriorTracer

T = TypeVar("T")


def computing_seconds() -> float:
    """Of all processes that this one has started, as far as they have ended, and of those that run below them."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            total += sum(map(int, fields[11:15])) / ticks
    return total


def timed(ask: Callable[[], T]) -> tuple[T, str]:
    """The answer, and what it took by the clock and of computing."""
    begun, before = time.monotonic(), computing_seconds()
    answer = ask()
    return answer, f"{time.monotonic() - begun:.1f} s ({computing_seconds() - before:.1f})"


def row(path: Path) -> str:
    """One probe."""
    probe = load_probe(path)
    with tempfile.TemporaryDirectory() as name, tracing_runner(Path(name) / "run") as runner:
        runner.round_trip("{}")  # so that the imports are not counted
        survey, surveying = timed(lambda: runner.survey(survey_request(probe)))
        space, cache = build_space(probe, survey), TraceCache(Path(name) / "cache")
        steps: list[str] = []
        prior: Prior | None = None
        tracer = PriorTracer(probe, survey, space, runner, cache)
        while not tracer.is_done:
            better, took = timed(lambda: tracer.step(math.inf))
            if better is None:
                break
            prior = better
            steps.append(took)
        again, cached = timed(lambda: PriorTracer(probe, survey, space, runner, cache).run(0.0))
    assert prior is not None, tracer.failure
    assert again is not None
    assert again.predicted == prior.predicted
    traced = sum(one.is_traced for one in prior.predicted)
    return f"| {path.stem} | {surveying} | {', '.join(steps)} | {cached} | {traced} of {len(prior.predicted)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probes", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    print("| probe | survey | each trace | from the cache | candidates whose variant was traced |")
    print("|---|---|---|---|---|", flush=True)
    for path in options.probes:
        print(row(path), flush=True)


if __name__ == "__main__":
    main()
