"""Losses that follow, losses that do not, and losses too noisy to tell."""

import random

import pytest

from perftune.records.candidate import Candidate
from perftune.records.trial import Outcome, Trial
from perftune.search.loss import allow_for_noise, compare_losses, is_undecided, scaled_by_accumulation
from tests.search.conftest import make_trial

CANDIDATE = Candidate(settings={"per_device_train_batch_size": 8})


def trial(number: int, losses: list[float]) -> Trial:
    made = make_trial(number, CANDIDATE)
    assert made.measurement is not None
    count = len(losses)
    steps = made.measurement.steps
    longer = {
        name: (getattr(steps, name)[0],) * count
        for name in type(steps).model_fields
        if name not in {"loss", "grad_norm"}
    }
    steps = steps.model_copy(update={**longer, "loss": tuple(losses), "grad_norm": (None,) * count})
    return made.model_copy(update={"measurement": made.measurement.model_copy(update={"steps": steps})})


def curve(count: int, noise: float, factor: float = 1.0, seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [(3.0 - 0.02 * i) * factor * (1 + rng.gauss(0, noise)) for i in range(count)]


def test_a_loss_that_follows_passes() -> None:
    check = compare_losses(trial(1, curve(24, 0.001, seed=1)), trial(2, curve(24, 0.001)), tolerance=0.02)
    assert check.passed
    assert check.num_steps == 24
    assert check.trials == (1, 2)
    assert not is_undecided(check)


def test_a_higher_loss_is_told() -> None:
    check = compare_losses(trial(1, curve(24, 0.001, 1.05)), trial(2, curve(24, 0.001)), tolerance=0.02)
    assert not check.passed
    assert not is_undecided(check)
    assert check.relative_difference.value == pytest.approx(0.05, abs=0.002)
    assert not allow_for_noise(check).passed


def test_a_lower_loss_is_said_and_is_no_failure() -> None:
    check = compare_losses(trial(1, curve(24, 0.001, 0.95)), trial(2, curve(24, 0.001)), tolerance=0.02)
    assert check.passed
    assert check.is_lower
    assert "lower than that of your own arguments" in check.message


def test_noise_asks_for_more_steps_and_then_passes_only_as_noisy() -> None:
    check = compare_losses(trial(1, curve(60, 0.1, seed=4)), trial(2, curve(60, 0.1, seed=5)), tolerance=0.02)
    assert not check.passed
    assert is_undecided(check)
    allowed = allow_for_noise(check)
    assert allowed.passed
    assert allowed.is_noisy


def test_noise_that_could_hide_anything_does_not_pass() -> None:
    check = compare_losses(trial(1, curve(12, 0.6, seed=4)), trial(2, curve(12, 0.6, seed=5)), tolerance=0.02)
    assert not allow_for_noise(check).passed


def test_only_completed_trials_are_compared() -> None:
    with pytest.raises(ValueError, match="completed"):
        compare_losses(trial(1, [1.0] * 8), make_trial(2, CANDIDATE, outcome=Outcome.CRASHED), tolerance=0.02)


@pytest.mark.parametrize(("factor", "expected"), [(1.0, None), (1.1, None), (4.0, 4.0), (0.25, 0.25)])
def test_another_scale_from_the_first_step_on(factor: float, expected: float | None) -> None:
    found = scaled_by_accumulation(trial(1, [3.0 * factor] * 8), trial(2, [3.0] * 8))
    assert found == (None if expected is None else pytest.approx(expected))
