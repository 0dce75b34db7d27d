"""The three answers, and how sure each is, as sentences."""

from typing import Any

import pytest

from perftune.records.probe import Objective
from perftune.records.recommendation import Decision, Interval, PairedComparison
from perftune.records.study import Study
from perftune.reports.certainty import certainty, how_compared
from perftune.reports.verdict import verdict
from perftune.reports.words import chance
from tests.studies import BASE, kept_study, recommendation, tuned_study


def compared(value: float, low: float, high: float, **fields: Any) -> PairedComparison:
    return PairedComparison(ratio=Interval(value=value, low=low, high=high), num_pairs=2, pairs=(), **fields)


def undecided(**changes: Any) -> Study:
    found = {"decision": Decision.NOT_DECIDED, "best_so_far": BASE.replace(per_device_train_batch_size=32)}
    return kept_study(**{**found, **changes})


def aiming_at(study: Study, objective: Objective) -> Study:
    return study.model_copy(update={"probe": study.probe.model_copy(update={"objective": objective})})


CLOSE = compared(1.19, 1.02, 1.36)


@pytest.mark.parametrize(
    ("study", "said"),
    [
        (
            tuned_study(comparison=compared(1.19, 1.15, 1.21), chance_better=0.99),
            "Tuned: 1.19× the samples per second (1.15 to 1.21), 99 % sure.",
        ),
        (tuned_study(comparison=compared(1.7, 0, float("inf"))), "Tuned: 1.70× the samples per second."),
        (tuned_study(comparison=None), "Tuned: your own arguments do not run here, these do."),
        (
            aiming_at(tuned_study(comparison=CLOSE), Objective.PEAK_MEMORY),
            "Tuned: 1.19× less memory at peak (1.02 to 1.36).",
        ),
        (
            aiming_at(tuned_study(comparison=CLOSE), Objective.TOKENS_PER_SECOND),
            "Tuned: 1.19× the tokens per second (1.02 to 1.36).",
        ),
        (kept_study(), "Keep yours: nothing that was measured is better by 2 % or more."),
        (
            kept_study(comparison=compared(1.01, 0.98, 1.03)),
            "Keep yours: nothing that was measured is better by 2 % or more.",
        ),
        (
            kept_study(comparison=compared(1.3, 0.9, 1.9)),
            "Keep yours: nothing that was measured is reliably better.",
        ),
        (
            undecided(comparison=CLOSE, chance_better=0.912, needs="about 4 more minutes"),
            (
                "Not decided: micro-batch 32 looks 1.19× as fast (1.02 to 1.36), 91 % likely to be better; about "
                "4 more minutes would tell."
            ),
        ),
        (undecided(comparison=CLOSE), "Not decided: micro-batch 32 looks 1.19× as fast (1.02 to 1.36)."),
        (
            aiming_at(undecided(comparison=CLOSE), Objective.PEAK_MEMORY),
            "Not decided: micro-batch 32 seems to need 1.19× less memory at peak (1.02 to 1.36).",
        ),
        (
            undecided(comparison=None, needs="about 4 more minutes"),
            (
                "Not decided: micro-batch 32 looks best, but the budget had no room to compare it with your own "
                "arguments; about 4 more minutes would tell."
            ),
        ),
        (
            undecided(comparison=None, best_so_far=None),
            "Not decided: the budget had no room to compare anything with your own arguments.",
        ),
        (
            undecided(comparison=compared(0.75, 0.24, 2.35), best_so_far=None, chance_better=0.01, needs="4 minutes"),
            (
                "Not decided: nothing that ran is better than your own arguments, but the budget had no room for more; "
                "4 minutes would tell."
            ),
        ),
    ],
)
def test_the_answer_is_one_sentence(study: Study, said: str) -> None:
    assert verdict(study) == said


@pytest.mark.parametrize(
    ("probability", "said"),
    [(1.0, "more than 99 %"), (0.995, "more than 99 %"), (0.994, "99 %"), (0.5, "50 %"), (0.001, "less than 1 %")],
)
def test_nothing_is_called_certain(probability: float, said: str) -> None:
    assert chance(probability) == said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "2 paired runs"),
        ({"num_heats": 3, "num_rounds": 24}, "in turns over 3 heats of 8 rounds"),
        ({"num_heats": 1, "num_rounds": 1}, "in turns over 1 heat of 1 round"),
        ({"num_heats": 3, "num_rounds": 23}, "in turns over 3 heats with 23 rounds in all"),
        ({"num_heats": 2}, "in turns over 2 heats"),
        (
            {"in_turns": False},
            "in runs one after the other, because the contenders do not fit into memory beside each other",
        ),
    ],
)
def test_how_it_was_compared_is_said(fields: dict[str, Any], said: str) -> None:
    comparison = compared(1.19, 1.02, 1.36, **fields)
    assert how_compared(comparison) == said
    assert certainty(tuned_study(comparison=comparison))[0].text == f"1.19× (1.02 to 1.36), 95 % interval, {said}."


@pytest.mark.parametrize(
    ("study", "labels"),
    [
        (tuned_study(), ["Against yours", "Loss"]),
        (tuned_study(comparison=None, loss_check=None), ["Against yours", "Loss"]),
        (
            kept_study(comparison=CLOSE, loss_check=recommendation().loss_check),
            ["The best other candidate against yours", "Loss of the best other candidate"],
        ),
        (
            undecided(comparison=CLOSE, loss_check=recommendation().loss_check),
            ["The best so far against yours", "Loss of the best so far"],
        ),
        (
            undecided(comparison=CLOSE, best_so_far=None, loss_check=recommendation().loss_check),
            ["The best other candidate against yours", "Loss of the best other candidate"],
        ),
        (kept_study(), ["Memory", "Worst batch"]),
    ],
)
def test_figures_of_another_candidate_are_not_said_of_yours(study: Study, labels: list[str]) -> None:
    assert [bullet.label for bullet in certainty(study)][:2] == labels


def budget_of(**fields: Any) -> list[str]:
    return [b.text for b in certainty(tuned_study().model_copy(update=fields)) if b.label == "Budget"]


def test_the_budget_says_what_was_asked_and_what_used_it() -> None:
    assert budget_of() == []
    assert budget_of(spent_seconds=342.0) == ["15 minutes asked, 5 min 42 s used."]
    phases = {"survey": 20.0, "traces": 0.0, "search": 150.0, "turns": 90.2}
    assert budget_of(spent_seconds=342.0, phase_seconds=phases) == [
        "15 minutes asked, 5 min 42 s used: survey 20.0 s, search 2 min 30 s, turns 1 min 30 s."
    ]
