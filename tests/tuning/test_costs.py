"""What heats and trials will take, from those that ran."""

import pytest

from perftune.records.candidate import MICRO_BATCH, PRECISION
from perftune.records.probe import Budget
from perftune.records.trial import Purpose
from perftune.tuning.costs import heat_seconds, slice_seconds, start_seconds, step_seconds, steps_seconds
from tests.tuning.made import empty_study, failed, searched, trial, with_trials

BASE = empty_study().space.base
LARGE = BASE.replace(**{MICRO_BATCH: 32})
BF16 = BASE.replace(**{PRECISION: "bf16"})
BOTH = LARGE.replace(**{PRECISION: "bf16"})


def test_a_heat_takes_starts_warm_up_and_rounds_of_everyone() -> None:
    study = searched((BASE, 2.0), (BOTH, 1.5), (LARGE, 4.0))
    assert heat_seconds(study, [BASE, BOTH, LARGE], 0) == pytest.approx(3 * (2.0 + 2 * 2.0))
    assert heat_seconds(study, [BASE, BOTH, LARGE], 5) == pytest.approx(3 * (2.0 + (2 + 5) * 2.0))
    assert heat_seconds(study, [BF16], 1) == pytest.approx(2.0 + 3 * 2.0), "of who never ran the others' median"


def test_a_turn_takes_a_slice_where_steps_are_shorter() -> None:
    fast = (BASE, 0.1), (BOTH, 0.1)
    assert heat_seconds(searched(*fast), [BASE, BOTH], 5) == pytest.approx(2 * (2.0 + 2 * 0.1 + 5 * 1.0))
    short = searched(*fast, budget=Budget(trials=100, minutes=2))
    assert slice_seconds(short) == pytest.approx(0.004 * 120)
    assert heat_seconds(short, [BASE, BOTH], 5) == pytest.approx(2 * (2.0 + 2 * 0.1 + 5 * 0.48))


def test_a_start_is_what_trials_of_the_search_took_beside_their_steps() -> None:
    study = searched((BASE, 2.0), (BOTH, 1.0))
    slow = trial(3, LARGE, (1.0,), purpose=Purpose.SEARCH).model_copy(update={"wall_seconds": 9.0})
    assert start_seconds(with_trials(study, slow)) == pytest.approx(2.0)
    assert start_seconds(with_trials(study, slow, slow.model_copy(update={"number": 4}))) == pytest.approx(5.0)
    assert start_seconds(with_trials(study, trial(5, LARGE, (1.0,) * 50, heat=5))) == pytest.approx(2.0)
    assert start_seconds(empty_study()) == 0


def test_a_step_is_the_median_of_the_candidates_own_trials() -> None:
    study = with_trials(searched((BASE, 2.0), (BOTH, 1.0)), trial(3, BASE, (3.0,) * 4, heat=3), failed(4, BASE))
    assert step_seconds(study, BASE) == pytest.approx(2.5)
    assert step_seconds(study, LARGE) == pytest.approx(2.0)
    assert step_seconds(empty_study(), BASE) == 0
    assert steps_seconds(study, BASE, 10) == pytest.approx(2.0 + 25.0)
