import math
import random

import pytest

from benchmarks.search.drift import drift
from perftune.records.candidate import MICRO_BATCH
from perftune.records.trial import Outcome

SIZES = (1, 2, 8, 16)


def run(space, trial, slowness, *, noise=0.01, num=40, reference_every=4):
    rng = random.Random(1)
    trials = []
    for number in range(num):
        size = 4 if number % reference_every == 0 else SIZES[number % 4]
        seconds = (1 + 4 / size) * slowness(number) * rng.lognormvariate(0, noise)
        trials.append(trial(number, space.base.replace(**{MICRO_BATCH: size}), seconds))
    return trials


def test_a_steady_machine_has_no_drift(space, trial):
    assert drift(run(space, trial, lambda _: 1.0)) == pytest.approx([1.0] * 40, rel=0.01)


@pytest.mark.parametrize("factor", [2.0, 4.0, 8.0])
def test_a_machine_that_becomes_slow_is_seen(space, trial, factor):
    found = drift(run(space, trial, lambda number: factor if number >= 20 else 1.0))
    assert found[35] / found[5] == pytest.approx(factor, rel=0.1)


def test_slow_change_is_followed(space, trial):
    found = drift(run(space, trial, lambda number: math.exp(number / 40)))
    for number in range(4, 36):
        assert found[number] / found[20] == pytest.approx(math.exp((number - 20) / 40), rel=0.08)


def test_one_disturbed_trial_is_not_drift(space, trial):
    found = drift(run(space, trial, lambda number: 2.0 if number == 16 else 1.0))
    assert found[15] == pytest.approx(1.0, rel=0.05)
    assert found[18] == pytest.approx(1.0, rel=0.05)


def test_without_repeats_nothing_is_known(space, trial):
    trials = [trial(i, space.base.replace(**{MICRO_BATCH: size})) for i, size in enumerate(SIZES)]
    assert drift(trials) == (1.0, 1.0, 1.0, 1.0)
    assert drift([]) == ()


def test_failed_trials_have_the_slowness_of_their_moment(space, trial):
    trials = run(space, trial, lambda number: 4.0 if number >= 20 else 1.0)
    trials[34] = trial(34, trials[34].candidate, outcome=Outcome.OUT_OF_MEMORY)
    found = drift(trials)
    assert len(found) == 40
    assert found[34] / found[5] == pytest.approx(4.0, rel=0.15)
