import random

import pytest

from perftune.records.candidate import MICRO_BATCH
from perftune.records.probe import Objective
from perftune.records.trial import Outcome, Purpose
from perftune.search import contenders, leader, next_in_race, winner

SAMPLES = Objective.SAMPLES_PER_SECOND


def race(field, seconds, trial, *, noise=0.02, drift=lambda _: 1.0, worthwhile=0.02, max_rounds=8, fail=()):
    rng = random.Random(4)
    trials = []
    while (candidate := next_in_race(field, trials, SAMPLES, worthwhile, max_rounds)) is not None:
        number = len(trials)
        if candidate.key in fail:
            trials.append(trial(number, candidate, outcome=Outcome.CRASHED, purpose=Purpose.RACE))
            continue
        took = seconds[candidate.key] * drift(number) * rng.lognormvariate(0, noise)
        trials.append(trial(number, candidate, took, purpose=Purpose.RACE))
        assert len(trials) <= max_rounds * len(field)
    return trials


@pytest.fixture
def field(space):
    return [space.base.replace(**{MICRO_BATCH: size}) for size in (8, 16, 2, 4)]


def times(field, *seconds):
    return {candidate.key: value for candidate, value in zip(field, seconds, strict=True)}


def test_the_fastest_wins_and_the_slow_drop_out_early(space, field, trial):
    trials = race(field, times(field, 1.1, 1.0, 1.5, 2.0), trial)
    runs = [sum(t.candidate == candidate for t in trials) for candidate in field]
    assert winner(space, field, trials, SAMPLES) == field[1]
    assert runs[3] < 8
    assert runs[1] == max(runs)


def test_contenders_are_interleaved_in_rounds(field, trial):
    trials = race(field, times(field, 1.0, 1.01, 1.02, 1.03), trial, noise=0.1, worthwhile=0.0, max_rounds=3)
    for start in range(0, 8, 4):
        assert {t.candidate.key for t in trials[start : start + 4]} == {candidate.key for candidate in field}
    assert trials[0].candidate != trials[4].candidate


def test_the_race_stops_when_the_difference_does_not_matter(field, trial):
    trials = race(field[:2], times(field[:2], 1.0, 1.001), trial, noise=0.001, worthwhile=0.05)
    assert len(trials) <= 6


def test_the_race_stops_when_rounds_are_spent(field, trial):
    trials = race(field, times(field, 1.0, 1.0, 1.0, 1.0), trial, noise=0.3, worthwhile=0.0, max_rounds=4)
    assert all(sum(t.candidate == candidate for t in trials) <= 4 for candidate in field)


@pytest.mark.parametrize("slower", [2.0, 4.0])
def test_drift_within_the_race_does_not_change_the_winner(space, field, trial, slower):
    trials = race(field, times(field, 1.1, 1.0, 1.5, 2.0), trial, drift=lambda n: slower if n >= 6 else 1.0)
    assert winner(space, field, trials, SAMPLES) == field[1]


def test_one_that_fails_is_out(space, field, trial):
    trials = race(field, times(field, 1.1, 1.0, 1.5, 2.0), trial, fail={field[1].key})
    assert sum(t.candidate == field[1] for t in trials) == 1
    assert winner(space, field, trials, SAMPLES) == field[0]


def test_no_race_with_less_than_two(space, field):
    assert next_in_race(field[:1], [], SAMPLES, 0.02, 5) is None
    assert next_in_race([], [], SAMPLES, 0.02, 5) is None
    assert winner(space, field, [], SAMPLES) is None


def test_the_race_is_a_function_of_its_trials(field, trial):
    trials = race(field, times(field, 1.1, 1.0, 1.5, 2.0), trial)
    for length in range(len(trials)):
        assert next_in_race(field, trials[:length], SAMPLES, 0.02, 8) == trials[length].candidate
    other = [t.model_copy(update={"purpose": Purpose.SEARCH}) for t in trials]
    assert next_in_race(field, other, SAMPLES, 0.02, 8) == field[0]


def test_contenders_are_the_close_ones_and_the_base(space, trial):
    sizes = {4: 2.0, 8: 1.01, 16: 1.0, 1: 4.0}
    trials = [trial(i, space.base.replace(**{MICRO_BATCH: s}), seconds) for i, (s, seconds) in enumerate(sizes.items())]
    chosen = contenders(space, trials, SAMPLES, most=3)
    assert [candidate.micro_batch for candidate in chosen][-1] == 4
    assert {candidate.micro_batch for candidate in chosen} == {16, 8, 4}
    assert leader(space, trials, SAMPLES) == chosen[0]


def test_contenders_respect_the_number(space, trial):
    trials = [trial(i, space.base.replace(**{MICRO_BATCH: s})) for i, s in enumerate((4, 8, 16, 1, 2))]
    assert len(contenders(space, trials, SAMPLES, most=2)) <= 3


def test_nobody_races_when_nothing_fits(space, trial):
    assert contenders(space, [trial(0, space.base, outcome=Outcome.OUT_OF_MEMORY)], SAMPLES) == []
    assert leader(space, [], SAMPLES) is None


def test_contenders_stay_the_same_while_they_race(space, trial):
    trials = [trial(i, space.base.replace(**{MICRO_BATCH: s}), 1.0 + i / 100) for i, s in enumerate((4, 8, 16))]
    before = contenders(space, trials, SAMPLES)
    raced = [*trials, *(trial(3 + i, c, 5.0 - i, purpose=Purpose.RACE) for i, c in enumerate(before))]
    assert contenders(space, raced, SAMPLES) == before
