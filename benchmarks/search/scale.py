"""What one proposal takes, in seconds and in memory, as trials and candidates grow.

python -m benchmarks.search.scale

Each case runs in a fresh interpreter with one thread for matrices. Trials are of candidates drawn at random from a
made-up world whose space is widened by knobs that do nothing. Given are the seconds that the process computed (on a
machine with other work, wall time tells of that work too), the wall time beside them, the ratio to the first case, and
the largest resident memory of the process, Python and its packages included.
"""

import json
import math
import os
import resource
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np

from benchmarks.search.synthetic import World
from perftune.records.candidate import Candidate, Knob
from perftune.records.probe import Objective
from perftune.records.trial import Trial
from perftune.search import ModelSearch
from perftune.search.encoding import Encoding

CASES = ((50, 500), (100, 500), (200, 500), (40, 100_000), (200, 100_000))
"""Trials, and candidates at least."""
SEED = 5
NUM_PROPOSALS = 3
SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
MIB = 2**20


class Took(NamedTuple):
    """One case, measured."""

    num_candidates: int
    cpu_seconds: float
    """The median of a few proposals."""
    wall_seconds: float
    resident_bytes: int


def widened(world: World, num_candidates: int) -> World:
    """The world with a space of at least so many candidates, by knobs of two values that change nothing."""
    more = max(0, math.ceil(math.log2(num_candidates / world.space.num_candidates)))
    knobs = (*world.space.knobs, *(Knob(name=f"idle_{i}", values=(False, True)) for i in range(more)))
    base = Candidate(settings={knob.name: knob.values[0] for knob in knobs})
    world.space = world.space.model_copy(update={"knobs": knobs, "base": base})
    return world


def proposing(num_trials: int, num_candidates: int) -> tuple[World, list[Trial]]:
    """A world, and trials of it: the user's own candidate first, then any."""
    world = widened(World(SEED), num_candidates)
    encoding = Encoding(world.space)
    rows = np.random.default_rng(SEED).integers(len(encoding), size=num_trials)
    candidates = [world.space.base, *(encoding.candidate(int(row)) for row in rows[1:])]
    return world, [world.run(candidate, number) for number, candidate in enumerate(candidates)]


def took(num_trials: int, num_candidates: int) -> Took:
    """Propose a few times, in this process."""
    world, trials = proposing(num_trials, num_candidates)
    found = []
    for _ in range(NUM_PROPOSALS):
        begun, begun_wall = time.process_time(), time.perf_counter()
        ModelSearch().propose(world.space, trials, Objective.SAMPLES_PER_SECOND)
        found.append((time.process_time() - begun, time.perf_counter() - begun_wall))
    cpu, wall = sorted(found)[NUM_PROPOSALS // 2]
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Took(world.space.num_candidates, cpu, wall, resident)


def main() -> None:
    """Print a row for each case."""
    if len(sys.argv) > 1:
        print(json.dumps(took(*map(int, sys.argv[1:]))))
        return
    print("| trials | candidates | seconds computed | wall | times the first | resident |")
    print("|---|---|---|---|---|---|")
    first = 0.0
    for case in CASES:
        command = [sys.executable, "-m", "benchmarks.search.scale", *map(str, case)]
        done = subprocess.run(command, env={**os.environ, **SINGLE}, capture_output=True, text=True, check=True)
        found = Took(*json.loads(done.stdout))
        first = first or found.cpu_seconds
        print(
            f"| {case[0]} | {found.num_candidates:,} | {found.cpu_seconds:.2f} | {found.wall_seconds:.2f} "
            f"| {found.cpu_seconds / first:.1f} | {found.resident_bytes / MIB:.0f} MiB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
