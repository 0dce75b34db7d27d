"""Intervals against values from tables of Student's t, and against simulation."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import t as student

from perftune.intervals import Belief, Interval, mean_interval, series_interval, t_quantile

RNG = np.random.default_rng(5)
SERIES = RNG.normal(0.3, 1.0, 24).tolist()


def test_the_mean_of_runs_by_hand() -> None:
    # 1, 2, 6: mean 3, sd √7, t(2) = 4.3027
    half = 4.30265 * math.sqrt(7) / math.sqrt(3)
    assert mean_interval([1.0, 2.0, 6.0]) == pytest.approx((3.0, 3.0 - half, 3.0 + half), abs=1e-4)
    # t(2) at 90 %: 2.91999
    assert mean_interval([1.0, 2.0, 6.0], 0.9).high == pytest.approx(3.0 + half * 2.91999 / 4.30265, abs=1e-4)


def test_one_run_has_no_interval_and_none_is_an_error() -> None:
    assert mean_interval([3.0]) == Interval(3.0, -math.inf, math.inf)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


@pytest.mark.parametrize(
    ("degrees", "chance", "expected"), [(2, 0.975, 1 + 0.5 * 4.30265), (2, 0.025, 1 - 0.5 * 4.30265), (1, 0.75, 1.5)]
)
def test_quantiles_are_students(degrees: float, chance: float, expected: float) -> None:
    assert t_quantile(1.0, 0.5, degrees, chance) == pytest.approx(expected, abs=1e-5)


def test_without_degrees_a_quantile_is_unbounded() -> None:
    assert t_quantile(1.0, 0.0, 0, 0.9) == math.inf
    assert t_quantile(1.0, 0.0, 0, 0.1) == -math.inf


@pytest.mark.parametrize("belief", [Belief(0.05, 0.03, 4.0), Belief(-0.02, 0.05, 2.5), Belief(0.0, 1.0, 30.0)])
def test_a_belief_is_students_t(belief: Belief) -> None:
    density = student(belief.degrees, belief.location, belief.scale)
    assert belief.chance_above(0.01) == pytest.approx(density.sf(0.01))
    shortfall, _ = quad(lambda x: -x * density.pdf(x), -np.inf, 0)
    assert belief.expected_loss() == pytest.approx(shortfall, rel=1e-6)


def test_the_loss_has_no_mean_with_one_degree() -> None:
    assert Belief(1.0, 1.0, 1.0).expected_loss() == math.inf
    assert Belief(1.0, 1.0, 1.01).expected_loss() < math.inf


def test_a_series_follows_its_scale_and_place() -> None:
    value, low, high = series_interval(SERIES)
    moved = series_interval([2 * one + 5 for one in SERIES])
    assert moved == pytest.approx((2 * value + 5, 2 * low + 5, 2 * high + 5))
    mirrored = series_interval([-one for one in reversed(SERIES)])
    assert mirrored == pytest.approx((-value, -high, -low))


def test_independent_steps_are_nearly_a_t_interval() -> None:
    series = np.random.default_rng(2).normal(size=60).tolist()
    found, plain = series_interval(series), mean_interval(series)
    assert found.value == pytest.approx(plain.value, abs=0.1 * (plain.high - plain.low))
    assert 0.8 < (found.high - found.low) / (plain.high - plain.low) < 1.5


def test_steps_that_are_alike_tell_less() -> None:
    steps = np.repeat(np.random.default_rng(3).normal(size=8), 5).tolist()
    found, plain = series_interval(steps), mean_interval(steps)
    assert found.high - found.low > 2 * (plain.high - plain.low)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # Worked out with whole covariance matrices and root finding instead of whitening and bisection.
        ([0.0, 1.0, 0.0, 2.0, 1.0, 3.0], (1.147876, -2.018307, 4.778531)),
        ([1.0, 1.2, 0.9, 1.5, 1.6, 1.4, 1.1, 1.3], (1.244375, 0.486241, 1.889174)),
    ],
)
def test_a_known_series(values: list[float], expected: tuple[float, float, float]) -> None:
    assert series_interval(values) == pytest.approx(expected, abs=1e-5)


def test_more_looks_and_more_confidence_are_wider() -> None:
    once, twice = series_interval(SERIES), series_interval(SERIES, looks=2)
    assert twice == pytest.approx(series_interval(SERIES, 0.975))
    assert twice.low < once.low < series_interval(SERIES, 0.5).low < once.value
    assert twice.value == pytest.approx(once.value)


def test_a_series_that_never_changes_is_its_value() -> None:
    assert series_interval([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(("values", "looks"), [([1.0, 2.0], 1), ([], 1), ([1.0, 2.0, 3.0], 0)])
def test_what_is_no_series(values: list[float], looks: int) -> None:
    with pytest.raises(ValueError, match="three values"):
        series_interval(values, looks=looks)
