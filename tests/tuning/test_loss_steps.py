"""How long the loss is looked at, and what the race leaves for it."""

from pathlib import Path
from typing import Any

import pytest

from perftune.records.candidate import MICRO_BATCH, Candidate
from perftune.records.probe import Budget
from perftune.records.study import Study
from perftune.records.trial import Purpose
from perftune.search import ModelSearch
from perftune.tuning import SilentObserver, probe_study
from perftune.tuning.costs import steps_seconds
from perftune.tuning.loop import Loop
from perftune.tuning.loss_steps import KEPT_SHARE, kept_seconds, loss_seconds, loss_steps
from perftune.tuning.spending import Spending
from tests.tuning.scripted import ScriptedRunner, probe


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    runner = ScriptedRunner()
    return probe_study(probe(), tmp_path_factory.mktemp("study"), runner=runner, clock=runner.clock)


def loop_of(study: Study, minutes: float = 15) -> Loop:
    spending = Spending(Budget(trials=100, minutes=minutes), clock=lambda: 0.0)
    return Loop(study, Path("/nowhere"), ScriptedRunner(), ModelSearch(), SilentObserver(), spending)


def searched_only(study: Study) -> Study:
    return study.model_copy(update={"trials": tuple(t for t in study.trials if t.purpose is Purpose.SEARCH)})


def best(study: Study) -> Candidate:
    found = loop_of(study).leader()
    assert found is not None
    assert found != study.space.base
    return found


def changed(study: Study, **settings: Any) -> Candidate:
    return study.space.base.replace(**settings)


def test_another_micro_batch_is_told_by_ten_steps_and_other_rounding_by_24(study: Study) -> None:
    base = study.space.base
    assert loss_steps(changed(study, **{MICRO_BATCH: 32}), base) == 10
    assert loss_steps(changed(study, activation_checkpointing=True), base) == 10
    assert loss_steps(changed(study, precision="bf16"), base) == 24
    assert loss_steps(changed(study, optim="adamw_bnb_8bit", **{MICRO_BATCH: 32}), base) == 24


def test_loss_trials_cost_their_starts_and_their_steps(study: Study) -> None:
    loop = loop_of(searched_only(study))
    both = (study.space.base, best(loop.study))
    assert loss_seconds(loop, 24) == pytest.approx(sum(steps_seconds(loop.study, one, 24) for one in both))


def test_before_the_race_the_time_for_the_leaders_loss_is_kept(study: Study) -> None:
    loop = loop_of(searched_only(study))
    assert kept_seconds(loop) == pytest.approx(loss_seconds(loop, loss_steps(best(loop.study), study.space.base)))
    assert kept_seconds(loop_of(searched_only(study), minutes=0.1)) == pytest.approx(KEPT_SHARE * 6)


def test_nothing_is_kept_for_the_users_own(study: Study) -> None:
    own = [trial for trial in study.trials if trial.candidate == study.space.base]
    assert kept_seconds(loop_of(study.model_copy(update={"trials": tuple(own[:1])}))) == 0


def test_nothing_is_kept_once_a_heat_was_long_enough(study: Study) -> None:
    own, leader = study.space.base, best(study)
    raced = [t for t in study.trials if t.purpose is Purpose.RACE and t.candidate in (own, leader) and t.measurement]
    heat = raced[0].heat
    pair = [trial for trial in raced if trial.heat == heat]
    kept = tuple(trial for trial in searched_only(study).trials)
    short, enough = ([with_steps(trial, count) for trial in pair] for count in (23, 24))
    assert kept_seconds(loop_of(study.model_copy(update={"trials": (*kept, *short)}))) > 0
    assert kept_seconds(loop_of(study.model_copy(update={"trials": (*kept, *enough)}))) == 0


def with_steps(trial: Any, count: int) -> Any:
    steps = trial.measurement.steps
    longer = {name: (getattr(steps, name) * count)[:count] for name in type(steps).model_fields if getattr(steps, name)}
    measurement = trial.measurement.model_copy(update={"steps": steps.model_copy(update=longer)})
    return trial.model_copy(update={"measurement": measurement})
