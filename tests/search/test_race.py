from typing import ClassVar

from perftune.records.candidate import MICRO_BATCH
from perftune.records.probe import Objective
from perftune.records.trial import Outcome, Purpose
from perftune.search import contenders, leader, race

SAMPLES = Objective.SAMPLES_PER_SECOND


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


def searched(trial, space, seconds, times=4):
    """Every size run so many times, in turns, so that it is known well."""
    sizes = [size for _ in range(times) for size in seconds]
    return [trial(i, space.base.replace(**{MICRO_BATCH: size}), seconds[size]) for i, size in enumerate(sizes)]


def test_the_best_guess_comes_first_and_the_base_races_even_when_it_is_hopeless(space, trial):
    trials = searched(trial, space, {4: 9.0, 8: 3.0, 16: 1.0, 2: 5.0})
    assert [one.micro_batch for one in contenders(space, trials, SAMPLES, most=4)] == [16, 4]
    assert [one.micro_batch for one in contenders(space, trials, SAMPLES, most=1)] == [16, 4]


def test_who_is_as_good_as_alike_races_up_to_the_number(space, trial):
    trials = [trial(i, space.base.replace(**{MICRO_BATCH: s}), 1.0 + i / 1000) for i, s in enumerate((8, 16, 2, 1))]
    assert [len(contenders(space, trials, SAMPLES, most=most)) for most in (1, 2, 3)] == [1, 2, 3]
    assert len(contenders(space, trials, SAMPLES)) == 4


def test_a_base_that_did_not_complete_is_no_reference(space, trial):
    larger = space.base.replace(**{MICRO_BATCH: 8})
    trials = [trial(0, space.base, outcome=Outcome.OUT_OF_MEMORY), trial(1, larger)]
    assert contenders(space, trials, SAMPLES) == [larger]


def test_the_base_races_once_where_it_is_the_best(space, trial):
    trials = searched(trial, space, {4: 1.0, 8: 5.0})
    assert contenders(space, trials, SAMPLES) == [space.base]
    assert leader(space, trials, SAMPLES) == space.base


def test_runs_of_the_race_count_for_the_leader_and_not_for_who_races(space, trial):
    one, other = (space.base.replace(**{MICRO_BATCH: size}) for size in (16, 8))
    seen = searched(trial, space, {4: 1.3, 8: 1.1, 16: 1.0})
    raced = [trial(99 + i, c, s, purpose=Purpose.RACE) for i, (c, s) in enumerate([(one, 1.2), (other, 0.9)] * 8)]
    assert leader(space, seen, SAMPLES) == one
    assert leader(space, [*seen, *raced], SAMPLES) == other
    assert contenders(space, [*seen, *raced], SAMPLES)[0] == one


def test_who_is_clearly_slower_is_hopeless_and_who_is_a_little_slower_is_not(space, trial):
    trials = searched(trial, space, {4: 1.5, 8: 1.01, 16: 1.0}, times=2)
    assert {one.micro_batch for one in contenders(space, trials, SAMPLES)} == {16, 8, 4}
    trials = searched(trial, space, {4: 1.5, 8: 1.2, 16: 1.0}, times=6)
    assert [one.micro_batch for one in contenders(space, trials, SAMPLES)] == [16, 4]


class Told:
    """What models would say: sizes, best first, and the chance of each to be better than the first."""

    chances: ClassVar = {16: 0.5, 8: 0.0301, 2: 0.03, 4: 0.0}

    def __init__(self, encoding, trials, objective, seed):
        self.encoding = encoding
        rows = [encoding.number(encoding.space.base.replace(**{MICRO_BATCH: size})) for size in self.chances]
        self.told = dict(zip(rows, self.chances.values(), strict=True))
        self.leader = rows[0]
        assert seed == 0, "the same study has the same contenders"

    def standing(self):
        return ({row: float(place) for place, row in enumerate(self.told)}, self.told)


def test_who_has_three_in_a_hundred_or_less_to_be_the_best_does_not_race(space, trial, monkeypatch):
    monkeypatch.setattr(race, "Beliefs", Told)
    trials = searched(trial, space, {4: 1.0}, times=1)
    assert [one.micro_batch for one in contenders(space, trials, SAMPLES)] == [16, 8, 4]
    assert leader(space, trials, SAMPLES).micro_batch == 16


def test_four_race_where_nobody_says_how_many(space, trial, monkeypatch):
    monkeypatch.setattr(Told, "chances", dict.fromkeys((4, 16, 8, 2, 1), 0.5))
    monkeypatch.setattr(race, "Beliefs", Told)
    trials = searched(trial, space, {4: 1.0}, times=1)
    assert [one.micro_batch for one in contenders(space, trials, SAMPLES)] == [4, 16, 8, 2]
