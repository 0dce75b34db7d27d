"""When a trial has seen enough."""

import pytest

from perftune.measuring.stopping import stop_reason
from perftune.records.trial import StopRule

RULE = StopRule(min_steps=4, max_steps=10, max_seconds=20.0, relative_half_width=0.05)


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [
        ([], None),
        ([1.0] * 3, None),
        ([1.0] * 4, "interval"),
        ([9.0, 1.0, 1.0, 1.0], None),
        ([9.0, 1.0, 1.0, 1.0, 1.0], "interval"),
        ([1.0, 1.5, 0.6, 1.4, 0.8], None),
        ([1.0, 1.5, 0.6, 1.4, 0.8] * 2, "max_steps"),
        ([5.0, 7.0, 4.0, 6.0, 5.5], "max_seconds"),
    ],
)
def test_reasons(seconds: list[float], reason: str | None) -> None:
    assert stop_reason(RULE, seconds) == reason


def test_a_candidate_that_cannot_win_is_given_up_before_its_interval_is_tight() -> None:
    rule = RULE.model_copy(update={"give_up_step_seconds": 0.5})
    assert stop_reason(rule, [1.0, 1.5, 0.6, 1.4]) == "cannot_win"
    assert stop_reason(rule, [1.0, 1.5, 0.4, 1.4]) is None


def test_exact_steps_are_all_that_counts() -> None:
    assert stop_reason(RULE, [1.0] * 30, exact_steps=31) is None
    assert stop_reason(RULE, [1.0, 9.0], exact_steps=2) == "exact_steps"


def test_a_first_step_that_took_too_long_is_the_last() -> None:
    rule = RULE.model_copy(update={"give_up_first_step_seconds": 5.0})
    assert stop_reason(rule, [5.5]) == "cannot_win"
    assert stop_reason(rule, [5.5], exact_steps=3) == "cannot_win"
    assert stop_reason(rule, [4.5, 9.0]) is None


@pytest.mark.parametrize("exact_steps", [None, 9])
def test_the_bound_of_the_whole_trial_counts_in_any_case(exact_steps: int | None) -> None:
    rule = RULE.model_copy(update={"max_wall_seconds": 30.0})
    assert stop_reason(rule, [], exact_steps, elapsed_seconds=40.0) is None
    assert stop_reason(rule, [1.0, 2.0], exact_steps, elapsed_seconds=28.0) is None
    assert stop_reason(rule, [1.0, 2.0], exact_steps, elapsed_seconds=28.5) == "max_wall_seconds"


def test_a_disturbed_candidate_is_judged_by_what_it_would_have_taken() -> None:
    rule = RULE.model_copy(update={"give_up_first_step_seconds": 5.0, "give_up_step_seconds": 2.0})
    assert stop_reason(rule, [9.0], undisturbed_seconds=[4.0]) is None
    assert stop_reason(rule, [9.0], undisturbed_seconds=[5.5]) == "cannot_win"
    busy, quiet = [9.0, 3.0, 4.0, 3.0, 5.0], [4.0, 1.0, 1.0, 1.0, 1.0]
    assert stop_reason(rule, busy) == "cannot_win"
    assert stop_reason(rule, busy, undisturbed_seconds=quiet) == "interval"
