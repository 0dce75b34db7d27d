"""Two candidates of a study, compared by the heats in which both ran."""

import math

import pytest

from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH, PRECISION, Candidate
from perftune.records.probe import Objective
from perftune.records.study import Study
from perftune.records.trial import Purpose
from perftune.tuning.comparisons import (
    TRAINING,
    carrier,
    chance_better,
    common_steps,
    compare,
    describe,
    is_idle,
    line_effect,
    longest_pair,
    pairs_of,
    runs,
    without_each_line,
)
from perftune.units import MIB
from tests.tuning.made import empty_study, failed, heat, trial, with_trials

STUDY = empty_study()
BASE = STUDY.space.base
LARGE = BASE.replace(**{MICRO_BATCH: 32})
BF16 = BASE.replace(**{PRECISION: "bf16"})
BOTH = LARGE.replace(**{PRECISION: "bf16"})


def raced(*seconds: tuple[float, float], first: Candidate = LARGE, second: Candidate = BASE) -> Study:
    """A heat of three rounds for each pair of step seconds."""
    trials = [
        one
        for number, (ours, theirs) in enumerate(seconds)
        for one in heat(1 + 2 * number, (first, (ours,) * 3), (second, (theirs,) * 3))
    ]
    return with_trials(STUDY, *trials)


def test_runs_are_those_that_completed_for_the_purposes() -> None:
    study = with_trials(
        STUDY,
        trial(1, LARGE, (1.0,), purpose=Purpose.SEARCH),
        failed(2, LARGE),
        trial(3, LARGE, (1.0,), heat=3),
        trial(4, BASE, (1.0,), purpose=Purpose.SEARCH),
        trial(5, LARGE, (1.0,), purpose=Purpose.FINAL),
    )
    assert [one.number for one in runs(study, LARGE, Purpose.SEARCH, Purpose.RACE)] == [1, 3]
    assert [one.number for one in runs(study, LARGE, *TRAINING)] == [1, 3]


def test_pairs_are_of_the_same_heat_whatever_it_was_for() -> None:
    study = with_trials(
        STUDY,
        *heat(1, (LARGE, (1.0,)), (BASE, (2.0,))),
        *heat(3, (LARGE, (1.0,)), (BF16, (2.0,))),
        *heat(5, (BASE, (2.0,)), (LARGE, (1.0,)), purpose=Purpose.ABLATION),
    )
    assert [(a.number, b.number) for a, b in pairs_of(study, LARGE, BASE)] == [(1, 2), (6, 5)]
    assert pairs_of(study, BF16, BASE) == []


def test_of_several_heats_the_one_with_most_common_steps_is_the_longest() -> None:
    study = with_trials(
        STUDY,
        *heat(1, (LARGE, (1.0,) * 9), (BASE, (2.0,) * 2)),
        *heat(3, (LARGE, (1.0,) * 4), (BASE, (2.0,) * 5)),
        *heat(5, (LARGE, (1.0,) * 3), (BASE, (2.0,) * 3)),
    )
    longest = longest_pair(study, LARGE, BASE)
    assert longest is not None
    assert [one.number for one in longest] == [3, 4]
    assert common_steps(*longest) == 4
    assert common_steps(longest[0], failed(9, BASE)) == 0
    assert longest_pair(study, BF16, BASE) is None


def test_a_comparison_is_the_ratio_of_the_throughputs_of_its_heats() -> None:
    study = raced((1.0, 1.2), (1.0, 1.3), (1.0, 1.25))
    found = compare(study, LARGE, BASE)
    assert found is not None
    assert found.ratio.value == pytest.approx((1.2 * 1.3 * 1.25) ** (1 / 3))
    spread = math.sqrt(sum((math.log(r) - math.log(found.ratio.value)) ** 2 for r in (1.2, 1.3, 1.25)) / 2)
    half = 4.303 * spread / math.sqrt(3)
    assert math.log(found.ratio.high / found.ratio.value) == pytest.approx(half, rel=1e-3)
    assert math.log(found.ratio.value / found.ratio.low) == pytest.approx(half, rel=1e-3)
    assert (found.num_pairs, found.num_heats, found.num_rounds) == (3, 3, 9)
    assert found.pairs == ((1, 2), (3, 4), (5, 6))
    assert found.in_turns


def test_the_best_of_many_has_a_wider_interval_below() -> None:
    study = raced((1.0, 1.2), (1.0, 1.3), (1.0, 1.25))
    alone, of_four = compare(study, LARGE, BASE), compare(study, LARGE, BASE, among=4)
    assert alone is not None
    assert of_four is not None
    assert of_four.ratio.low < alone.ratio.low
    assert of_four.ratio.high < alone.ratio.high, "who was chosen for being high is seldom too low"
    assert of_four.ratio.value == alone.ratio.value


def test_runs_one_after_the_other_are_no_turns() -> None:
    ours = [trial(1 + 2 * n, LARGE, (1.0, 1.0), heat=1 + 2 * n, in_turns=False) for n in range(2)]
    theirs = [trial(2 + 2 * n, BASE, (2.0, 2.0), heat=1 + 2 * n, in_turns=False) for n in range(2)]
    found = compare(with_trials(STUDY, *ours, *theirs), LARGE, BASE)
    assert found is not None
    assert found.ratio.value == pytest.approx(2.0)
    assert not found.in_turns


def test_nothing_is_said_of_who_never_met_nor_of_a_candidate_and_itself() -> None:
    study = with_trials(raced((1.0, 1.2)), trial(9, BF16, (1.0,), purpose=Purpose.SEARCH))
    assert compare(study, BF16, BASE) is None
    assert compare(study, BASE, BASE) is None
    assert chance_better(study, BF16, BASE) is None


def test_where_memory_is_the_objective_less_of_it_is_better() -> None:
    study = empty_study(objective=Objective.PEAK_MEMORY)
    for number in (1, 3):
        study = with_trials(
            study,
            trial(number, LARGE, (1.0,), heat=number, peak_mib=800),
            trial(number + 1, BASE, (2.0,), heat=number, peak_mib=400),
        )
    found = compare(study, LARGE, BASE)
    assert found is not None
    assert found.ratio.value == pytest.approx(0.5)
    told = chance_better(study, BASE, LARGE)
    assert told is not None
    assert told > 0.99, "peaks repeat better than times"


def test_how_likely_it_is_better_follows_the_heats() -> None:
    better, alike, worse = (chance_better(raced(*pairs), LARGE, BASE) for pairs in (
        [(1.0, 1.2)] * 3, [(1.0, 1.0)] * 3, [(1.2, 1.0)] * 3,
    ))  # fmt: skip
    assert better is not None
    assert alike == pytest.approx(0.5)
    assert worse is not None
    assert better > 0.99
    assert worse < 0.01


def test_a_line_has_its_speed_and_the_memory_that_it_adds() -> None:
    trials = [
        trial(1, BOTH, (1.0,), heat=1, peak_mib=700),
        trial(2, LARGE, (1.5,), heat=1, peak_mib=900),
        trial(3, BOTH, (1.0,), heat=3, peak_mib=710),
        trial(4, LARGE, (1.5,), heat=3, peak_mib=900),
        trial(5, BOTH, (1.0,), heat=5, peak_mib=720),
        trial(6, LARGE, (1.5,), heat=5, peak_mib=900),
    ]
    effect, memory_bytes = line_effect(with_trials(STUDY, *trials), BOTH, LARGE)
    assert effect is not None
    assert effect.value == pytest.approx(1.5)
    assert memory_bytes == -190 * MIB


def test_memory_is_told_from_the_search_where_there_was_no_heat() -> None:
    study = with_trials(
        STUDY,
        trial(1, BOTH, (1.0,), purpose=Purpose.SEARCH, peak_mib=700),
        trial(2, LARGE, (1.5,), purpose=Purpose.SEARCH, peak_mib=900),
    )
    assert line_effect(study, BOTH, LARGE) == (None, -200 * MIB)
    assert line_effect(study, BOTH, BF16) == (None, None)


def test_a_line_is_idle_when_what_it_gains_is_worth_no_line() -> None:
    worthwhile = STUDY.probe.worthwhile
    assert is_idle(raced((1.0, 1 + 0.99 * worthwhile)), LARGE, BASE)
    assert not is_idle(raced((1.0, 1 + 1.01 * worthwhile)), LARGE, BASE)
    exactly = STUDY.model_copy(update={"probe": STUDY.probe.model_copy(update={"worthwhile": 0.0})})
    assert not is_idle(exactly.model_copy(update={"trials": raced((1.0, 1.0)).trials}), LARGE, BASE)
    assert not is_idle(raced((1.0, 1 + 2 * worthwhile)), LARGE, BASE)
    assert is_idle(raced((1.5, 1.0)), LARGE, BASE)
    assert not is_idle(STUDY, LARGE, BASE), "what was not measured is not known to be idle"


def test_without_each_line_takes_one_back_at_a_time() -> None:
    assert without_each_line(BOTH, BASE) == {MICRO_BATCH: BF16, PRECISION: LARGE}
    assert without_each_line(BASE, BASE) == {}


def test_a_line_that_never_ran_beside_its_twin_is_carried_by_the_nearest_candidate_that_did() -> None:
    study = raced((1.0, 1.2), first=BF16)
    assert carrier(study, BOTH, PRECISION) == BF16
    assert carrier(study, BF16, PRECISION) == BF16
    assert carrier(study, BOTH, MICRO_BATCH) == BOTH, "no other carries it"
    near = BOTH.replace(**{MICRO_BATCH: 16})
    far = near.replace(**{CHECKPOINTING: True})
    pairs = [(one, one.replace(**{PRECISION: "fp32"})) for one in (far, near)]
    trials = [
        each for n, pair in enumerate(pairs) for each in heat(1 + 2 * n, (pair[0], (1.0,)), (pair[1], (2.0,)))
    ]  # fmt: skip
    assert carrier(with_trials(STUDY, *trials), BOTH, PRECISION) == near


def test_a_candidate_is_told_by_what_it_changes() -> None:
    assert describe(BOTH, BASE) == f"{MICRO_BATCH}=32, precision=bf16"
    assert describe(BASE, BASE) == "your own arguments"
