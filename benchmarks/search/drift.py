"""Repeated candidates in an ordered list of trials become the slowness of the machine at each trial."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from perftune.records.summary import step_interval
from perftune.records.trial import Trial
from perftune.search.encoding import Floats

SIZES = (0.0, 0.05, 0.2, 0.8)
"""Spread of the log speed over a long time."""
LENGTHS_SECONDS = (30.0, 120.0, 600.0)
"""Time over which the machine forgets its speed."""
NOISES = (0.01, 0.03, 0.1)
"""Spread of the log of one trial."""
LEVEL_SD = 10.0
"""Of the log seconds of a candidate: nothing is known of it."""
DEGREES = 3.0
"""Of Student's t: how heavy the tails of the noise are. Something else on the machine can disturb one trial."""
STEADY_LOG_ODDS = 2.0
"""A steady machine is believed before a drifting one."""
NUM_PASSES = 4


def drift(trials: Sequence[Trial]) -> tuple[float, ...]:
    """How slow the machine was at each trial, 1 being its ordinary speed (the median over the trials).

    Between the runs of a repeated candidate only the machine has changed. Log seconds are modelled as a level of the
    candidate, a drift (Ornstein-Uhlenbeck, on a clock that runs while trials run) and noise; the size of each is
    chosen by evidence, so a steady machine gives ones. Trials without a measurement get the slowness of their moment.
    """
    clock = np.cumsum([trial.wall_seconds for trial in trials]) - np.array([t.wall_seconds / 2 for t in trials])
    keys = [trial.candidate.key for trial in trials if trial.measurement is not None]
    runs = [i for i, t in enumerate(trials) if t.measurement is not None and keys.count(t.candidate.key) > 1]
    if not runs:
        return (1.0,) * len(trials)
    names = list(dict.fromkeys(trials[i].candidate.key for i in runs))
    member = np.array([[trials[i].candidate.key == name for name in names] for i in runs], dtype=float)
    seconds = np.array([step_interval(m).value for i in runs if (m := trials[i].measurement) is not None])
    logs = member @ -(member.T @ np.log(seconds) / member.sum(axis=0)) + np.log(seconds)
    slowness = _smooth(clock[runs], member, logs, clock)
    return tuple(np.exp(slowness - np.median(slowness)).tolist())


def _smooth(clock: Floats, member: Floats, logs: Floats, wanted: Floats) -> Floats:
    """Posterior mean of the drift at the wanted times, under the most probable sizes."""
    shared = LEVEL_SD**2 * member @ member.T
    weights = np.ones(len(logs))
    best = np.zeros(len(wanted))
    for _ in range(NUM_PASSES):
        found = -np.inf
        residuals, spread = logs, 1.0
        for size, length, noise in product(SIZES, LENGTHS_SECONDS, NOISES):
            kernel = size**2 * np.exp(-np.abs(clock[:, None] - clock[None, :]) / length)
            total = kernel + shared + np.diag(noise**2 / weights)
            factor = np.linalg.cholesky(total)
            white = np.linalg.solve(factor, logs)
            evidence = -0.5 * float(white @ white) - float(np.log(np.diag(factor)).sum())
            evidence += STEADY_LOG_ODDS * (size == 0)
            if evidence > found:
                found, spread = evidence, noise
                solved = np.linalg.solve(factor.T, white)
                residuals = noise**2 / weights * solved
                best = size**2 * np.exp(-np.abs(wanted[:, None] - clock[None, :]) / length) @ solved
        weights = (DEGREES + 1) / (DEGREES + (residuals / spread) ** 2)
    return best
