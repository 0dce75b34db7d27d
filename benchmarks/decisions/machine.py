"""Gains, spread between processes, correlation and bursts to what contenders would have been measured at."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
ROUNDS = 8
SLICE_NOISE = 0.02
"""Spread (log) of slices of a second within a process that nothing disturbs."""
DRIFT = 0.02
"""Spread (log) of what a machine's speed changes by from one round to the next, for all contenders alike."""
BURST_SECONDS = (1.0, 8.0)
BURST_SLOWNESS = (2.0, 4.0)
"""Times slower during a burst; bursts and pauses between them are of one length on average, so it is half the time."""


@dataclass(frozen=True)
class Machine:
    """How busy a machine is, and how alike what it runs.

    Args:
        spread: of processes (log, 1 sd).
        correlation: of a process's values in neighbouring rounds.
        bursts: whether something else runs half of the time.
    """

    spread: float
    correlation: float
    bursts: bool


GRID = tuple(
    Machine(spread, correlation, bursts)
    for spread in (0.0, 0.01, 0.03)
    for correlation in (0.0, 0.4, 0.8)
    for bursts in (False, True)
)


def in_turns(machine: Machine, num_studies: int, num_heats: int, gains: Array, rng: np.random.Generator) -> Array:
    """Studies × heats × contenders × rounds of contenders that take turns of a second, in random order."""
    size = (num_studies, num_heats)
    values: Array = gains[:, None] + machine.spread * rng.normal(size=(*size, len(gains), 1))
    values = values + SLICE_NOISE * correlated(machine.correlation, ROUNDS, (*size, len(gains)), rng)
    values = values + (DRIFT * rng.normal(size=(*size, 1, ROUNDS))).cumsum(axis=-1)
    if machine.bursts:
        delays = slice_delays(len(gains) * ROUNDS, num_studies * num_heats, rng).reshape(*size, ROUNDS, len(gains))
        turns = np.argsort(rng.random(delays.shape), axis=-1)
        values = values - np.take_along_axis(delays, turns, axis=-1).swapaxes(-1, -2)
    return values


def one_after_the_other(
    machine: Machine, num_studies: int, num_pairs: int, gain: float, rng: np.random.Generator
) -> Array:
    """Studies × pairs of log ratios of runs that follow each other, each the median of as many slices as a heat has."""
    size = (num_studies, num_pairs)
    gains = np.array([gain, 0.0])[:, None]
    values = gains + machine.spread * rng.normal(size=(*size, 2, 1))
    values = values + SLICE_NOISE * correlated(machine.correlation, ROUNDS, (*size, 2), rng)
    slices = (*size, 2 * ROUNDS)
    # A round of two contenders lasts two slices.
    lost = (DRIFT / np.sqrt(2) * rng.normal(size=slices)).cumsum(axis=-1)
    if machine.bursts:
        lost = lost + slice_delays(2 * ROUNDS, num_studies * num_pairs, rng).reshape(slices)
    runs = np.median(values - lost.reshape(*size, 2, ROUNDS), axis=-1)
    ratios: Array = runs[..., 0] - runs[..., 1]
    return ratios


def correlated(correlation: float, length: int, size: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Stationary autoregressions of first order with variance 1; time is the last axis."""
    values = [rng.normal(size=size)]
    for _ in range(length - 1):
        values.append(correlation * values[-1] + np.sqrt(1 - correlation**2) * rng.normal(size=size))
    return np.stack(values, axis=-1)


def slice_delays(num_slices: int, num_runs: int, rng: np.random.Generator) -> Array:
    """Runs × slices: the log of how many times longer each second of work takes, as bursts come and go."""
    num_bursts = num_slices // 4 + 10
    seconds = rng.uniform(*BURST_SECONDS, size=(num_runs, num_bursts, 2))
    work = seconds.copy()
    work[..., 0] /= rng.uniform(*BURST_SLOWNESS, size=(num_runs, num_bursts))
    begins_quiet = rng.random(num_runs) < 0.5
    for phases in (seconds, work):
        phases[begins_quiet] = phases[begins_quiet][..., ::-1]
    edges = [np.pad(phases.reshape(num_runs, -1).cumsum(axis=1), ((0, 0), (1, 0))) for phases in (work, seconds)]
    starts = rng.random(num_runs) * edges[0][:, 1]
    at = [np.interp(start + np.arange(num_slices + 1), *both) for start, *both in zip(starts, *edges, strict=True)]
    delays: Array = np.log(np.diff(np.stack(at), axis=1))
    return delays
