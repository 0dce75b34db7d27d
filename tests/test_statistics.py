"""Intervals against values worked out by hand or by simulation."""

import math
import random

import pytest

from perftune.statistics import median_interval, num_warmup_steps, paired_ratio


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


@pytest.mark.parametrize("pairs", [[], [(0.0, 1.0)], [(1.0, -1.0)]])
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
    ],
)
def test_warmup_is_found(steps: list[float], expected: int) -> None:
    assert num_warmup_steps(steps) == expected


def test_steps_of_different_length_are_not_warmup() -> None:
    rng = random.Random(2)
    steps = [rng.uniform(0.5, 1.5) for _ in range(20)]
    assert num_warmup_steps(steps) <= 1
