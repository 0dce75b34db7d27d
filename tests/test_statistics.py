"""Intervals against values worked out by hand or by simulation."""

import math
import random

import pytest
from scipy import stats

from perftune.statistics import median_interval, num_warmup_steps, paired_ratio, t_975


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], (3.0, 3.0, 3.0)),
        ([1.0, 2.0, 3.0], (2.0, 1.0, 3.0)),
        # Six values: the extremes cover 1 - 2/64 = 96.9 %, the next ones 1 - 14/64 = 78 %.
        ([6.0, 1.0, 5.0, 2.0, 4.0, 3.0], (3.5, 1.0, 6.0)),
        # Nine values: leaving out one at each end covers 1 - 20/512 = 96.1 %.
        ([float(n) for n in range(1, 10)], (5.0, 2.0, 8.0)),
    ],
)
def test_median_interval(values: list[float], expected: tuple[float, float, float]) -> None:
    assert median_interval(values) == expected


@pytest.mark.parametrize(
    ("n", "low", "high"),
    # From any table of the binomial distribution: the lower rank is the largest r with P(X < r) ≤ 0.025, or 1.
    [
        (5, 1, 5),
        (8, 1, 8),
        (12, 3, 10),
        (15, 4, 12),
        (17, 5, 13),
        (20, 6, 15),
        (25, 8, 18),
        (100, 40, 61),
        (2000, 956, 1045),
    ],
)
def test_ranks_of_the_median_interval(n: int, low: int, high: int) -> None:
    assert median_interval([float(rank) for rank in range(1, n + 1)]) == ((n + 1) / 2, low, high)


@pytest.mark.parametrize(
    ("confidence", "low"),
    [
        # Of six values: 1 - 2/64, 1 - (2 + 12)/64 and 1 - (2 + 12 + 30)/64 are reached to the last bit.
        (62 / 64, 1), (62 / 64 - 0.001, 1), (50 / 64 + 0.001, 1), (50 / 64, 2), (20 / 64 + 0.001, 2), (20 / 64, 3),
        (0.0, 3),
    ],
)  # fmt: skip
def test_less_confidence_is_a_narrower_interval(confidence: float, low: int) -> None:
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], confidence) == (3.5, low, 7 - low)


def test_an_interval_needs_values() -> None:
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


def test_median_interval_covers_as_often_as_it_says() -> None:
    rng = random.Random(1)
    hits = 0
    for _ in range(2000):
        _, low, high = median_interval([rng.lognormvariate(0, 1) for _ in range(15)])
        hits += low <= 1.0 <= high
    assert 0.94 < hits / 2000 < 0.99


def test_paired_ratio_by_hand() -> None:
    # logs of the ratios: ln 2, ln 2, ln 8 = 0.693, 0.693, 2.079; mean 1.155, sd 0.800, t(2) = 4.303
    value, low, high = paired_ratio([(2, 1), (4, 2), (8, 1)])
    assert value == pytest.approx(math.exp(1.1552), rel=1e-3)
    assert math.log(high / value) == pytest.approx(4.303 * 0.8003 / math.sqrt(3), rel=1e-3)
    assert low * high == pytest.approx(value**2)


def test_one_pair_says_nothing_of_its_spread() -> None:
    assert paired_ratio([(3.0, 2.0)]) == (pytest.approx(1.5), 0.0, math.inf)


def test_values_below_one_are_values() -> None:
    assert paired_ratio([(0.5, 0.25), (0.1, 0.05)])[0] == pytest.approx(2.0)


@pytest.mark.parametrize("degrees", range(1, 31))
def test_quantiles_are_those_of_students_t(degrees: int) -> None:
    assert t_975(degrees) == pytest.approx(float(stats.t.ppf(0.975, degrees)), abs=5.01e-4)


def test_beyond_the_table_the_normal_quantile_is_near() -> None:
    assert t_975(31) == t_975(10**6) == pytest.approx(float(stats.norm.ppf(0.975)), abs=5e-3)
    assert t_975(31) == pytest.approx(float(stats.t.ppf(0.975, 31)), rel=0.04)


@pytest.mark.parametrize(
    "pairs", [[], [(0.0, 1.0)], [(1.0, 0.0)], [(1.0, -0.5)], [(-0.5, 1.0)], [(2.0, 1.0), (0.0, 1.0)]]
)
def test_a_ratio_needs_positive_values(pairs: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="positive"):
        paired_ratio(pairs)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], 0),
        ([5.0], 0),
        ([5.0, 1.0], 1),
        ([9.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 2),
        ([1.0, 1.0, 1.0, 1.0], 0),
        ([1.0, 5.0, 1.0, 1.0, 1.0, 1.0], 0),
        ([4.0, 4.0, 4.0, 4.0, 4.0, 1.0], 0),
        # At most half, though the later half begins slowly as well.
        ([9.0, 9.0, 9.0, 9.0, 1.0, 1.0], 3),
        # Three spreads of at least 2 % of the median: from 1.06 on, and from 2.12 on.
        ([1.0 + 3 * 0.02, 1.0, 1.0, 1.0], 0),
        ([1.063, 1.0, 1.0, 1.0], 1),
        ([2.1, 2.0, 2.0, 2.0], 0),
        ([2.13, 2.0, 2.0, 2.0], 1),
        # The later half's median absolute deviation is 0.1, its spread 0.14826: from 1.445 on.
        ([1.44, 1.0, 1.0, 0.9, 1.0, 1.1], 0),
        ([1.46, 1.0, 1.0, 0.9, 1.0, 1.1], 1),
    ],
)
def test_warmup_is_found(steps: list[float], expected: int) -> None:
    assert num_warmup_steps(steps) == expected


def test_steps_of_different_length_are_not_warmup() -> None:
    rng = random.Random(2)
    steps = [rng.uniform(0.5, 1.5) for _ in range(20)]
    assert num_warmup_steps(steps) <= 1
