"""A small part of benchmarks/decisions: coverage, false alarms and power on simulated busy machines, seeds fixed."""

import numpy as np
import pytest

from benchmarks.decisions.machine import Machine, slice_delays
from benchmarks.decisions.simulate import covered, gains_of, said
from benchmarks.decisions.studies import coverage, pairs_until_told, race, series_coverage
from perftune.decisions import Answer

BUSY = Machine(spread=0.01, correlation=0.4, bursts=True)
UNEVEN = Machine(spread=0.03, correlation=0.8, bursts=False)


def test_half_of_the_time_is_spent_in_bursts() -> None:
    delays = slice_delays(200, 100, np.random.default_rng(1))
    assert delays.min() == pytest.approx(0.0, abs=1e-9)
    assert delays.max() == pytest.approx(np.log(4), abs=0.05)
    seconds = np.exp(delays)
    # A second of work in a burst takes about three, so that a quarter of the slices makes half of the time.
    assert 1.4 < seconds.mean() < 1.6


@pytest.mark.parametrize("machine", [BUSY, UNEVEN])
def test_intervals_cover(machine: Machine) -> None:
    assert 0.925 < coverage(machine, 800, num_heats=3, num_contenders=3, seed=1) < 0.975


@pytest.mark.parametrize("machine", [BUSY, UNEVEN])
def test_equal_contenders_are_seldom_told_apart(machine: Machine) -> None:
    told = race(machine, 200, max_heats=6, gains=gains_of(0.0, 3), seed=2)
    assert said(told, Answer.TUNED) <= 0.045
    assert 0.91 < covered(told) < 0.99


@pytest.mark.parametrize("machine", [BUSY, UNEVEN])
def test_a_large_gain_is_never_given_up_and_soon_told(machine: Machine) -> None:
    told = race(machine, 150, max_heats=2, gains=gains_of(0.2, 1), seed=3)
    assert said(told, Answer.KEEP_YOURS) == 0
    assert said(told, Answer.TUNED) > 0.8


def test_turns_tell_what_runs_one_after_the_other_do_not() -> None:
    told = race(BUSY, 100, max_heats=8, gains=gains_of(0.05, 1), seed=4)
    pairs = pairs_until_told(BUSY, 100, max_pairs=24, gain=np.log(1.05), seed=5)
    assert said(told, Answer.TUNED) > 0.7
    assert sum(found is not None for found in pairs) < 50


@pytest.mark.parametrize(("correlation", "length"), [(0.0, 24), (0.8, 24)])
def test_series_cover(correlation: float, length: int) -> None:
    once, naive = series_coverage(correlation, length, 200, looks=1, seed=6)
    assert 0.91 < once < 0.99
    assert (naive < 0.7) == (correlation == 0.8)
