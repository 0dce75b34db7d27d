from perftune.records.candidate import MICRO_BATCH
from perftune.records.probe import Objective
from perftune.records.trial import Outcome, Purpose
from perftune.search import contenders, leader

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
