"""Compiling is recommended where the user's own run is long enough to pay for it, and else refused with that reason."""

import math
from pathlib import Path
from typing import Any

import pytest

from perftune.records.candidate import COMPILE
from perftune.records.probe import Objective
from perftune.records.recommendation import Decision
from perftune.tuning.compiling import CompileCost, compile_cost, steps_of_run, why_unpaid
from tests.tuning.made import empty_study, heat, trial, with_trials
from tests.tuning.scripted import GLOBAL_BATCH, Physics, ScriptedRunner, answer, run

KNOBS = {"torch_compile": (False, True)}
ARGUMENTS = {"learning_rate": 1e-3}
STUDY = empty_study(knobs=KNOBS)
BASE = STUDY.space.base
COMPILED = BASE.replace(torch_compile=True)


def raced(compiled: float, wall_seconds: float, **own: Any) -> Any:
    """The user's own takes 1 s a step; with 4 steps each and nothing else in its wall time but building."""
    study = empty_study(knobs=KNOBS, training_arguments={**ARGUMENTS, **own})
    pair = heat(1, (COMPILED, (compiled,) * 4), (BASE, (1.0,) * 4))
    walls = (1.0 + 4 * compiled + wall_seconds, 1.0 + 4 * 1.0)
    trials = [t.model_copy(update={"wall_seconds": wall}) for t, wall in zip(pair, walls, strict=True)]
    return with_trials(study, *trials)


def test_the_cost_is_paid_back_after_so_many_steps() -> None:
    found = compile_cost(raced(0.5, wall_seconds=30.0), COMPILED, BASE)
    assert found == CompileCost(pytest.approx(30.0), pytest.approx(0.5))  # type: ignore[arg-type]
    assert str(found) == "compiling costs 30.0 s at the start, paid back after 60 steps"
    assert str(CompileCost(30.0, 0.0)) == "compiling costs 30.0 s at the start, not paid back"
    assert CompileCost(30.0, -1.0).num_steps == math.inf
    assert compile_cost(with_trials(STUDY, trial(1, COMPILED, (1.0,), heat=1)), COMPILED, BASE) is None


@pytest.mark.parametrize(
    ("own", "num_steps"),
    [
        ({}, None),
        ({"max_steps": 500}, 500),
        ({"max_steps": -1}, None),
        ({"num_train_epochs": 2}, 2 * math.ceil(1000 / GLOBAL_BATCH)),
        ({"num_train_epochs": 3}, 3 * math.ceil(1000 / GLOBAL_BATCH)),
        ({"num_train_epochs": 0.5}, math.ceil(0.5 * math.ceil(1000 / GLOBAL_BATCH))),
        ({"num_train_epochs": 2, "max_steps": 7}, 7),
    ],
)
def test_how_long_the_users_own_run_is(own: dict[str, Any], num_steps: int | None) -> None:
    assert steps_of_run(raced(0.5, 30.0, **own)) == num_steps


@pytest.mark.parametrize(
    ("seen", "num_steps"),
    [({"num_train_epochs": 3.0, "max_steps": -1}, None), ({"num_train_epochs": 1.0}, 32), ({"max_steps": 9}, 9)],
)
def test_what_the_code_says_counts_and_the_default_of_transformers_does_not(
    seen: dict[str, Any], num_steps: int | None
) -> None:
    survey = STUDY.survey.model_copy(update={"arguments": seen})
    assert steps_of_run(STUDY.model_copy(update={"survey": survey})) == num_steps


def test_data_without_length_leave_it_open() -> None:
    survey = STUDY.survey.model_copy(update={"num_samples": None})
    study = raced(0.5, 30.0, num_train_epochs=2).model_copy(update={"survey": survey})
    assert steps_of_run(study) is None


@pytest.mark.parametrize(("max_steps", "is_paid"), [(59, False), (60, True), (None, True)])
def test_a_run_pays_or_is_too_short(max_steps: int | None, is_paid: bool) -> None:
    study = raced(0.5, 30.0, **({"max_steps": max_steps} if max_steps else {}))
    why = why_unpaid(study, COMPILED, BASE)
    said = "compiling costs 30.0 s at the start, paid back after 60 steps, and your own training has 59"
    assert why == (None if is_paid else said)


def test_memory_is_saved_whatever_it_takes() -> None:
    study = raced(0.5, 30.0, max_steps=5)
    probe = study.probe.model_copy(update={"objective": Objective.PEAK_MEMORY})
    assert why_unpaid(study.model_copy(update={"probe": probe}), COMPILED, BASE) is None


def study_of(folder: Path, max_steps: int, **more: tuple[object, ...]) -> Any:
    """On a machine where compiling makes the step half as long and takes 60 s."""
    runner = ScriptedRunner(physics=Physics(compiled_factor=0.5, compile_seconds=60.0, bf16_factor=0.9))
    held = {"per_device_train_batch_size": (8,), "optim": ("adamw_torch_fused",), "precision": ("fp32",)}
    knobs = {**held, "activation_checkpointing": (False,), "dataloader_num_workers": (0,), **KNOBS, **more}
    return answer(run(folder, runner, knobs=knobs, training_arguments={**ARGUMENTS, "max_steps": max_steps}))


@pytest.mark.long
def test_a_long_run_gets_it_and_a_short_one_does_not(tmp_path: Path) -> None:
    long = study_of(tmp_path / "long", max_steps=100_000)
    assert long.candidate.settings[COMPILE] is True
    assert any("of your 100,000" in line.reason for line in long.lines)
    short = study_of(tmp_path / "short", max_steps=100)
    assert short.decision is Decision.KEEP_YOURS
    assert any("and your own training has 100" in item.reason for item in short.rejected)


@pytest.mark.long
def test_what_else_the_contender_has_is_kept(tmp_path: Path) -> None:
    found = study_of(tmp_path, max_steps=100, per_device_train_batch_size=(8, 32))
    assert found.candidate.settings[COMPILE] is False
    assert found.candidate.settings["per_device_train_batch_size"] == 32
    assert found.decision is Decision.TUNED
    assert any("and your own training has 100" in item.reason for item in found.rejected)
