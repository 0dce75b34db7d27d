"""Robust statistics of few, noisy timings: medians with intervals, paired ratios, the end of the warm-up."""

import math
from collections.abc import Sequence
from statistics import mean, median, stdev

_T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""0.975 quantiles of Student's t for 1 … 30 degrees of freedom (any table, e.g. NIST/SEMATECH 1.3.6.7.2)."""

_MAD_TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation of a normal distribution: 1 / Φ⁻¹(3/4)."""


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """The median with a distribution-free confidence interval: ``(median, low, high)``.

    The interval lies between two order statistics; its coverage is binomial (Conover, *Practical Nonparametric
    Statistics*, 3.2). With so few values that the extremes do not reach the confidence, the extremes are given.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    n = len(ordered)
    rank, outside = 0, _both_tails(n, 0)
    while outside + _both_tails(n, rank + 1) <= 1 - confidence:
        rank += 1
        outside += _both_tails(n, rank)
    return median(ordered), ordered[rank], ordered[n - 1 - rank]


def _both_tails(n: int, rank: int) -> float:
    """How probable it is that exactly so many of n values are on one side of their median, on either side."""
    return 2 * math.comb(n, rank) / (1 << n)


def paired_ratio(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Geometric mean of ``first / second`` over pairs, with a 95 % t-interval of the logs: ``(ratio, low, high)``.

    One pair says nothing of its own spread: its interval is ``(0, inf)``.

    Raises:
        ValueError: no pairs, or a value that is not positive.
    """
    if not pairs or any(first <= 0 or second <= 0 for first, second in pairs):
        raise ValueError("a paired ratio needs pairs of positive values")
    logs = [math.log(first / second) for first, second in pairs]
    centre = mean(logs)
    if len(logs) == 1:
        return math.exp(centre), 0.0, math.inf
    half = t_975(len(logs) - 1) * stdev(logs) / math.sqrt(len(logs))
    return math.exp(centre), math.exp(centre - half), math.exp(centre + half)


def t_975(degrees: int) -> float:
    """0.975 quantile of Student's t; 1.96 beyond the table, where they differ by under 4 %."""
    return _T_975[degrees - 1] if degrees <= len(_T_975) else 1.96


def num_warmup_steps(step_seconds: Sequence[float]) -> int:
    """How many leading steps are slower than the steady state, seen from the later half of the run.

    A leading step is warm-up while it exceeds the later median by three spreads (median absolute deviation, at
    least 2 % of the median). At most half of the steps: a run that never settles has no steady state to find.
    """
    if not step_seconds:
        return 0
    n = len(step_seconds)
    later = step_seconds[n // 2 :]
    centre = median(later)
    spread = max(_MAD_TO_SIGMA * median(abs(value - centre) for value in later), 0.02 * centre)
    count = 0
    while count < n // 2 and step_seconds[count] > centre + 3 * spread:
        count += 1
    return count
