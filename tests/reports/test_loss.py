"""What was found about the loss and the first gradients, as sentences."""

from typing import Any

import pytest

from perftune.records.gradients import GradientCheck, GroupDifference
from perftune.records.recommendation import Interval, LossCheck
from perftune.records.study import Study
from perftune.reports.certainty import certainty
from perftune.reports.loss import loss_bullets
from tests.studies import TUNED, recommendation, tuned_study


def check(value: float, half_width: float = 0.005, **changes: Any) -> LossCheck:
    found = recommendation().loss_check
    assert found is not None
    interval = Interval(value=value, low=value - half_width, high=value + half_width)
    return found.model_copy(update={"relative_difference": interval, "passed": False, **changes})


def said(loss_check: LossCheck, study: Study | None = None) -> str:
    return loss_bullets(study or tuned_study(), loss_check, None)[0].text


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            check(0.0012, 0.004, passed=True),
            "follows the reference over 24 steps, +0.12 % (-0.28 to +0.52 %), tolerance 2.0 %.",
        ),
        (check(0.0, passed=False), "follows the reference over 24 steps, +0.00 % (-0.50 to +0.50 %), tolerance 2.0 %."),
        (
            check(0.05),
            "does not follow the reference over 24 steps, +5.00 % (+4.50 to +5.50 %), tolerance 2.0 %.",
        ),
        (
            check(0.02, 0.01),
            (
                "whether it is higher by more than the tolerance of 2.0 % could not be told over 24 steps, "
                "+2.00 % (+1.00 to +3.00 %)."
            ),
        ),
        (
            check(0.0, 0.04, passed=True, is_noisy=True),
            (
                "not seen to be higher over 24 steps, +0.00 % (-4.00 to +4.00 %); it is too noisy to exclude the "
                "tolerance of 2.0 %."
            ),
        ),
        (
            check(-0.5, scale=0.5),
            "0.5 times that of your own arguments from the first step on, so it is not the same loss.",
        ),
    ],
)
def test_a_loss_is_said_as_what_it_is(found: LossCheck, words: str) -> None:
    assert said(found) == words


@pytest.mark.parametrize("changes", [{"passed": True, "is_lower": True}, {"passed": False}])
def test_a_lower_loss_is_no_failure_and_names_what_may_learn_less_well(changes: dict[str, Any]) -> None:
    lower = check(-0.03, **changes)
    assert said(lower) == (
        "lower than your own by 3.00 % (2.50 to 3.50 %) over 24 steps, which is beyond the tolerance of 2.0 %: "
        "your own precision may be the one that learns less well."
    )
    study = tuned_study()
    same_precision = [
        trial.model_copy(update={"candidate": TUNED.replace(precision="fp32")}) if trial.number == 11 else trial
        for trial in study.trials
    ]
    study = study.model_copy(update={"trials": tuple(same_precision)})
    assert said(lower, study).endswith("your own setting may be the one that learns less well.")


def test_gradients_stand_beside_the_loss_where_they_were_compared() -> None:
    group = GroupDifference(
        name="encoder", num_parameters=3, cosine=0.9, norm_ratio=2.0, relative_difference=1.1, passed=False
    )
    gradients = GradientCheck(
        groups=(group,),
        whole=group,
        tolerance=0.05,
        is_exact=True,
        passed=False,
        message="it is 2.0 times \x1b[31mas large",
    )
    labels = [bullet.label for bullet in certainty(tuned_study(loss_check=check(0.0, gradients=gradients)))]
    assert labels[1:3] == ["Loss", "Gradient"]
    loss, gradient = loss_bullets(tuned_study(), check(0.0, gradients=gradients), "the best so far")
    assert (loss.label, gradient.label) == ("Loss of the best so far", "Gradient of the best so far")
    assert gradient.text == "it is 2.0 times as large."
    assert loss.text.startswith("follows the reference"), "the gradient has a point of its own"
