"""Losses that follow, that are higher, that are lower for a good reason or a bad one, and those too noisy to tell."""

import random
from collections.abc import Sequence

import pytest

from perftune.intervals import series_interval
from perftune.records.candidate import Candidate
from perftune.records.gradients import GradientCheck, GradientSketch, GroupDifference, GroupSketch
from perftune.records.recommendation import LossCheck
from perftune.records.trial import Outcome, Trial
from perftune.search.loss import (
    allow_for_noise,
    another_scale,
    compare_losses,
    compare_series,
    is_undecided,
    relative_differences,
    scaled_by_accumulation,
    with_gradients,
)
from tests.search.conftest import make_trial

CANDIDATE = Candidate(settings={"per_device_train_batch_size": 8})
REFERENCE = [2.0] * 8


def sketch(norm: float, **changes: object) -> GradientSketch:
    group = GroupSketch(name="head", num_parameters=3, norm=norm, projection=(norm,))
    fields = {"precision": "fp32", "num_micro_batches": 1, "samples_digest": 7, "is_random": False, **changes}
    return GradientSketch.model_validate({"groups": (group,), **fields})


def trial(number: int, losses: Sequence[float], gradient: GradientSketch | None = None) -> Trial:
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
    measurement = made.measurement.model_copy(update={"steps": steps, "first_gradient": gradient})
    return made.model_copy(update={"measurement": measurement})


def later(difference: float, count: int = 8) -> list[float]:
    """As the reference in the first half; in the second beyond it by this part."""
    return [2.0] * (count // 2) + [2.0 * (1 + difference)] * (count - count // 2)


def noisy(count: int, noise: float, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [(3.0 - 0.02 * i) * (1 + rng.gauss(0, noise)) for i in range(count)]


def checked(candidate: Sequence[float], tolerance: float = 0.02, reference: Sequence[float] = REFERENCE) -> LossCheck:
    return compare_series([(candidate, reference)], tolerance, (1, 2))


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        ([9, 9, 3, 5], [1, 1, 2, 2], [0.5, 1.5]),
        ([9, 9, 3, 5, 7], [1, 1, 4, 2, 2], [-0.375, 1.125, 1.875]),
        ([3, 5, 7], [4, 2, 2, 8], [1.5, 2.5]),
        ([3, 1], [-4, -2], [1.5]),
        ([1, 2], [0, 0], [2]),
        ([], [], []),
    ],
)
def test_differences_are_of_the_second_half_and_over_its_mean(
    candidate: list[float], reference: list[float], expected: list[float]
) -> None:
    assert relative_differences(candidate, reference) == expected


@pytest.mark.parametrize(
    ("difference", "passes"), [(0.0, True), (0.03125, True), (0.0313, False), (-0.03125, True), (0.5, False)]
)
def test_it_passes_up_to_the_tolerance_and_not_beyond(difference: float, passes: bool) -> None:
    check = checked(later(difference), tolerance=0.03125)
    interval = check.relative_difference
    assert (interval.value, interval.low, interval.high) == (pytest.approx(difference),) * 3
    assert interval.confidence == 0.95
    assert check.passed is passes
    assert (check.num_steps, check.tolerance, check.trials, check.scale) == (8, 0.03125, (1, 2), None)
    assert not check.is_lower
    assert not is_undecided(check)
    said = "follows that of your own arguments, " if passes else "is higher than that of your own arguments, "
    assert check.message.startswith(
        f"the loss {said}{difference:+.2%} ({difference:+.2%} to {difference:+.2%}) over 8 "
    )
    assert check.message.endswith("than the 3.1% that are allowed")


def test_the_interval_allows_for_neighbours_and_for_two_looks() -> None:
    candidate = noisy(24, 0.01, seed=1)
    check = checked(candidate, reference=[2.0] * 24)
    expected = series_interval(relative_differences(candidate, [2.0] * 24), 0.95, 2)
    assert check.relative_difference.low == expected.low
    assert check.relative_difference.high == expected.high
    assert (expected.low, expected.high) != series_interval(relative_differences(candidate, [2.0] * 24), 0.95, 1)[1:]


def test_several_runs_are_averaged_and_are_no_new_evidence() -> None:
    first, second = noisy(24, 0.01, seed=1), noisy(24, 0.01, seed=2)
    reference = noisy(24, 0.01, seed=3)
    once = checked(first, reference=reference)
    again = compare_series([(first, reference)] * 3, 0.02, (1, 2))
    assert again.relative_difference.low == pytest.approx(once.relative_difference.low)
    assert again.relative_difference.high == pytest.approx(once.relative_difference.high)
    both = compare_series([(first, reference), (second, reference)], 0.02, (1, 2))
    mean = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    assert both.relative_difference.high == pytest.approx(checked(mean, reference=reference).relative_difference.high)


def test_as_many_steps_are_compared_as_all_have() -> None:
    pairs = [(later(0.0, 30), [2.0] * 40), ([2.0] * 20, [2.0] * 26)]
    check = compare_series(pairs, 0.02, (1, 2))
    assert check.num_steps == 20
    assert check.relative_difference.value == 0


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_steps_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="too few steps"):
        checked([2.0] * count)
    with pytest.raises(ValueError, match="too few steps"):
        compare_series([(REFERENCE, REFERENCE), (REFERENCE, [2.0] * count)], 0.02, (1, 2))


def test_five_steps_are_enough_and_no_pair_is_not() -> None:
    assert checked([2.0] * 5).num_steps == 5
    with pytest.raises(ValueError, match="too few steps"):
        compare_series([], 0.02, (1, 2))


@pytest.mark.parametrize(("difference", "is_lower"), [(-0.03125, False), (-0.0313, True), (-0.5, True)])
def test_a_loss_that_becomes_lower_is_said_and_passes(difference: float, is_lower: bool) -> None:
    check = checked(later(difference), tolerance=0.03125)
    assert check.passed
    assert check.is_lower is is_lower
    assert check.scale is None
    assert not is_undecided(check)
    said = "the loss is lower than that of your own arguments, " if is_lower else "the loss follows that of "
    assert check.message.startswith(said)
    assert ("it may be yours that learn less well" in check.message) is is_lower


@pytest.mark.parametrize(("first", "passes"), [(2.0, True), (1.88, True), (1.875, False), (1.8, False), (2.1, True)])
def test_a_loss_that_is_lower_from_the_first_step_on_is_another_loss(first: float, passes: bool) -> None:
    check = checked([first, *later(-0.125)[1:]])
    assert check.passed is check.is_lower is passes
    assert check.scale == (None if passes else first / 2)
    assert not is_undecided(check)
    if not passes:
        assert check.message == f"the loss is {first / 2:.3g} times that of your own arguments from the first step on"


def test_the_first_step_is_compared_with_the_reference_s_first() -> None:
    reference = [4.0, 1.0, *REFERENCE[2:]]
    lower = [1.5] * 8
    assert checked([4.0, 1.0, 2.0, *lower[3:]], reference=reference).scale is None
    assert checked([3.0, 1.0, 2.0, *lower[3:]], reference=reference).scale == 0.75
    assert checked([3.6, 1.0, 2.0, *lower[3:]], reference=reference).is_lower
    assert checked([0.0, 0.0, 0.0, *lower], reference=[0.0, 1.0, 1.0, *[2.0] * 8]).scale == 0


def test_a_first_loss_of_zero_is_its_own_measure() -> None:
    reference = [0.0] * 3 + [1.0] * 5
    assert checked([-0.25, 0.0, 0.0, 1.0, *[0.5] * 4], reference=reference).scale == 0.75
    assert checked([-0.24, 0.0, 0.0, 1.0, *[0.5] * 4], reference=reference).is_lower


def test_first_steps_of_several_runs_are_averaged() -> None:
    pairs = [([first, *later(-0.125)[1:]], REFERENCE) for first in (2.0, 1.78)]
    assert compare_series(pairs, 0.02, (1, 2)).passed
    pairs = [([first, *later(-0.125)[1:]], REFERENCE) for first in (2.0, 1.72)]
    assert compare_series(pairs, 0.02, (1, 2)).scale == pytest.approx(0.93)


def test_losses_below_zero_are_lower_when_they_are_more_so() -> None:
    reference = [-2.0] * 8
    assert checked([-2.0] * 4 + [-2.5] * 4, reference=reference).is_lower
    assert not checked([-2.0] * 4 + [-1.5] * 4, reference=reference).passed
    assert checked([-2.25] * 8, reference=reference).scale == pytest.approx(0.875)


def test_a_reference_that_is_zero_is_no_scale() -> None:
    check = checked([0.0] * 4 + [-0.5] * 4, reference=[0.0] * 8)
    assert check.relative_difference.value == -0.5
    assert check.is_lower


@pytest.mark.parametrize(("factor", "expected"), [(0.75, 0.75), (0.76, None), (1.0, None), (1.32, None), (1.33, 1.33)])
def test_another_scale_from_the_first_steps_on(factor: float, expected: float | None) -> None:
    candidate = [2.0 * factor] * 3 + [2.0] * 5
    found = another_scale([(candidate, REFERENCE)])
    assert found == (None if expected is None else pytest.approx(expected))
    assert scaled_by_accumulation(trial(1, candidate), trial(2, REFERENCE)) == found
    check = checked(candidate)
    assert check.passed is (expected is None)
    assert check.scale == found
    assert not is_undecided(check)


def test_a_lower_scale_passes_neither_as_lower_nor_as_following() -> None:
    for candidate in ([0.5] * 8, [0.5] * 4 + [2.0] * 4):
        check = checked(candidate)
        assert check.scale == 0.25
        assert not check.passed
        assert not check.is_lower
        assert not is_undecided(check)
        assert not allow_for_noise(check).passed
        assert check.message == "the loss is 0.25 times that of your own arguments from the first step on"


def test_the_scale_is_the_median_of_the_first_three_steps_of_all_runs() -> None:
    assert another_scale([([8.0, 2.0, 2.0, 8.0, 8.0], [2.0] * 5)]) is None
    assert another_scale([([8.0, 8.0, 2.0], [2.0] * 3)]) == 4
    assert another_scale([([8.0], [2.0]), ([2.0, 2.0], [2.0, 2.0])]) is None
    assert another_scale([([8.0], [0.0]), ([6.0, 2.0], [2.0, 0.0, 1.0])]) == 3
    assert another_scale([([], [])]) is None
    assert another_scale([([1.0], [0.0])]) is None


def test_noise_asks_for_more_steps_and_then_passes_only_as_noisy() -> None:
    check = checked(noisy(60, 0.08, seed=4), reference=noisy(60, 0.08, seed=5))
    assert not check.passed
    assert is_undecided(check)
    assert "could not be told" in check.message
    allowed = allow_for_noise(check)
    assert allowed.passed
    assert allowed.is_noisy
    assert not check.is_noisy
    assert "is not seen to be higher" in allowed.message
    assert "too noisy to exclude the 2.0% that are allowed" in allowed.message


def with_interval(low: float, high: float, **changes: object) -> LossCheck:
    """A check by hand, with a tolerance of 0.125."""
    interval = checked(REFERENCE).relative_difference.model_copy(update={"low": low, "high": high})
    fields = {"relative_difference": interval, "tolerance": 0.125, "passed": False, **changes}
    return checked(REFERENCE).model_copy(update=fields)


@pytest.mark.parametrize(
    ("low", "high", "undecided", "allowed"),
    [
        (-0.5, 0.625, True, True),
        (-0.5, 0.626, True, False),
        (0.0, 0.5, True, True),
        (0.001, 0.5, True, False),
        (0.125, 0.5, True, False),
        (0.126, 0.5, False, False),
    ],
)
def test_noise_is_allowed_for_where_no_difference_is_seen_and_none_beyond_five_tolerances(
    low: float, high: float, undecided: bool, allowed: bool
) -> None:
    check = with_interval(low, high)
    assert is_undecided(check) is undecided
    assert allow_for_noise(check).passed is allow_for_noise(check).is_noisy is allowed


def test_what_passed_is_neither_undecided_nor_noisy() -> None:
    check = with_interval(-0.5, 0.1, passed=True)
    assert not is_undecided(check)
    assert allow_for_noise(check) == check


FAILED = GradientCheck(
    groups=(),
    whole=GroupDifference(name="all", num_parameters=1, norm_ratio=16, relative_difference=15, cosine=1, passed=False),
    tolerance=1e-3,
    is_exact=True,
    passed=False,
    message="the gradient is 16.0 times as large",
)


def test_gradients_that_differ_fail_what_the_losses_pass_and_are_what_is_said() -> None:
    check = with_gradients(checked(REFERENCE), FAILED)
    assert not check.passed
    assert check.gradients == FAILED
    assert check.message == "the gradient is 16.0 times as large"
    assert not is_undecided(check)
    assert not is_undecided(with_gradients(with_interval(-0.5, 0.5), FAILED))
    assert not allow_for_noise(with_gradients(with_interval(-0.5, 0.5), FAILED)).passed


def test_gradients_that_agree_leave_the_loss_to_decide() -> None:
    agree = FAILED.model_copy(update={"passed": True})
    for gradients in (None, agree):
        assert with_gradients(checked(REFERENCE), gradients).passed
        higher = with_gradients(checked(later(0.5)), gradients)
        assert not higher.passed
        assert "the loss is higher" in higher.message
        assert is_undecided(with_gradients(with_interval(-0.5, 0.5), gradients))


def test_trials_are_compared_with_their_gradients() -> None:
    check = compare_losses(trial(3, REFERENCE, sketch(16.0)), trial(5, REFERENCE, sketch(1.0)), tolerance=0.02)
    assert check.trials == (3, 5)
    assert check.tolerance == 0.02
    assert check.relative_difference.value == 0
    assert check.gradients is not None
    assert check.gradients.whole.norm_ratio == 16
    assert not check.passed
    assert compare_losses(trial(3, REFERENCE, sketch(1.0)), trial(5, REFERENCE, sketch(1.0)), tolerance=0.02).passed
    without = compare_losses(trial(3, REFERENCE), trial(5, REFERENCE, sketch(1.0)), tolerance=0.02)
    assert without.gradients is None
    assert without.passed


def test_only_completed_trials_are_compared() -> None:
    crashed = make_trial(2, CANDIDATE, outcome=Outcome.CRASHED)
    for ours, theirs in [(trial(1, REFERENCE), crashed), (crashed, trial(1, REFERENCE))]:
        with pytest.raises(ValueError, match="completed"):
            compare_losses(ours, theirs, tolerance=0.02)
        assert scaled_by_accumulation(ours, theirs) is None
