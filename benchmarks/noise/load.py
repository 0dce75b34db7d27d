"""A number of processes to a load that comes and goes: each works for 1 to 8 s, rests for 1 to 8 s, and so on.

python -m benchmarks.noise.load --processes 2 --seed 1 --seconds 600 [--steady]

Work is products and sums of matrices larger than the caches, one thread a process, so that it takes cores, caches and
the way to the memory as somebody else's training does. How long a process works and rests is drawn by the seed: half of
the time it works; a steady load never rests. Processes end after their time, with the context, and with their parent,
however that ends.
"""

import argparse
import ctypes
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess

LEAST_SECONDS, MOST_SECONDS = 1.0, 8.0
WIDTH = 1536
"""Of the matrices: three of them in double precision are 57 MB, more than a core has caches for."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
WARNING_OF_A_DEAD_PARENT = 1
"""``PR_SET_PDEATHSIG`` of ``prctl``."""


def turns(seed: int, number: int) -> Iterator[tuple[float, float]]:
    """Seconds of work and of rest after it, without end; half of the processes begin with a rest.

    Args:
        seed: of the whole load.
        number: of the process, from 0.
    """
    rng = random.Random(f"{seed}-{number}")
    if rng.random() < 0.5:
        yield 0.0, rng.uniform(LEAST_SECONDS, MOST_SECONDS)
    while True:
        yield rng.uniform(LEAST_SECONDS, MOST_SECONDS), rng.uniform(LEAST_SECONDS, MOST_SECONDS)


@contextmanager
def load(num_processes: int, seed: int = 0, seconds: float = float("inf"), steady: bool = False) -> Iterator[list[int]]:
    """Work beside what is run in the context.

    Args:
        num_processes: that come and go, each by itself.
        seed: the same one gives the same times.
        seconds: after which it ends by itself.
        steady: without rests, so that on one core it takes half of the time.

    Yields:
        The process ids.
    """
    # Spawned: threads of the caller's torch or numpy do not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    environment = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        started: list[BaseProcess] = [
            spawn.Process(target=_come_and_go, args=(seed, number, seconds, steady, os.getpid()), daemon=True)
            for number in range(num_processes)
        ]
        for process in started:
            process.start()
    finally:
        for name, value in environment.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    try:
        yield [process.pid for process in started if process.pid is not None]
    finally:
        for process in started:
            process.kill()
            process.join()


def _come_and_go(seed: int, number: int, seconds: float, steady: bool, parent: int) -> None:
    _end_with(parent)
    import numpy as np

    left, right = np.random.default_rng(seed).random((2, WIDTH, WIDTH))
    product = np.empty_like(left)
    end = time.monotonic() + seconds
    for working, resting in [(seconds, 0.0)] if steady else turns(seed, number):
        rest_from = min(time.monotonic() + working, end)
        while time.monotonic() < rest_from:
            np.matmul(left, right, out=product)
            np.add(left, product, out=product)
        time.sleep(max(min(resting, end - time.monotonic()), 0.0))
        if time.monotonic() >= end:
            return


def _end_with(parent: int) -> None:
    """Be killed by the kernel when the parent dies, even where it could not clean up; Linux only."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(WARNING_OF_A_DEAD_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Make a load until its time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=1, choices=(1, 2), help="that come and go (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600.0, help="in all (%(default)s)")
    parser.add_argument("--steady", action="store_true", help="without rests")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt), load(options.processes, options.seed, options.seconds, options.steady):
        time.sleep(options.seconds)


if __name__ == "__main__":
    main()
