"""What the benchmarks beside a load count as good, and what their tables say."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.noise import minutes, studies
from benchmarks.tuned import applied


def result(busy: list[float], decision: str = "tuned", to_be_had: float = 1.5) -> dict[str, Any]:
    quiet = {"decision": "tuned", "changed": {"bf16": True}, "of_budget": 0.9}
    return {
        "probe": "p",
        "num_processes": 2,
        "quiet": quiet,
        "busy": {**quiet, "decision": decision},
        "busy_over_quiet": busy,
        "quiet_over_own": [to_be_had, to_be_had - 0.1, to_be_had + 0.1],
    }


@pytest.mark.parametrize(
    ("ratio", "good"), [(1.2, True), (1.0, True), (0.97, True), (0.969, False), (0.5, False)]
)  # fmt: skip
def test_an_answer_within_three_per_cent_or_better_is_as_good(ratio: float, good: bool) -> None:
    assert studies.is_as_good(result([ratio, ratio - 0.01, ratio + 0.01])) is good


def test_an_answer_that_did_not_run_is_not_as_good() -> None:
    assert not studies.is_as_good(result([]))


@pytest.mark.parametrize(
    ("decision", "to_be_had", "wrong"),
    [("keep_yours", 1.1, True), ("keep_yours", 1.09, False), ("not_decided", 1.5, False), ("tuned", 1.5, False)],
)
def test_keep_yours_is_wrong_where_ten_per_cent_are_to_be_had(decision: str, to_be_had: float, wrong: bool) -> None:
    assert studies.is_wrongly_kept(result([1.0, 1.0, 1.0], decision, to_be_had)) is wrong


def test_the_table_of_studies_has_a_row_a_probe_and_counts() -> None:
    said = studies.table([result([1.0, 1.0, 1.0]), result([0.8, 0.7, 0.9], "keep_yours")])
    assert "| p | 2 | 1.50 (1.40 – 1.60) | the same | tuned: bf16=True | tuned: bf16=True | 0.90, 0.90 |" in said
    assert "| 0.80 (0.70 – 0.90) |" in said
    assert "Within 3% of the quiet answer or better: 1 of 2." in said
    assert "was to be had: p." in said


def test_the_table_of_minutes_says_what_was_used_and_which_failed() -> None:
    one = {
        "probe": "p",
        "minutes": 3.0,
        "has_load": True,
        "decision": "not_decided",
        "of_budget": 1.2,
        "seconds": 216.0,
        "longest_trial_seconds": 36.0,
        "first_begun": 0.1,
        "first_measured": None,
        "num_search_trials": 4,
    }
    said = minutes.table([one, {"probe": "q", "error": "no candidate completed"}])
    assert "| p | 3 | yes | 1.20 | 1.00 | 10%, never | 4 | not decided |" in said
    assert "q: no candidate completed" in said
    assert "Most of the budget: 1.20." in said


def test_a_case_has_the_name_of_its_folder() -> None:
    assert minutes.name_of(Path("cases/two_towers/model.yaml")) == "two_towers"
    assert minutes.name_of(Path("probes/code_lm.yaml")) == "code_lm"


def test_the_table_of_recommended_files_says_what_a_plain_script_found() -> None:
    one = {
        "probe": "p",
        "decision": "keep_yours",
        "samples_of_steps": [32],
        "global_batch": 32,
        "plain_over_trial": [0.97, 0.95, 0.99],
        "plain_over_claim": 1.01,
        "peak_over_claim": 0.98,
        "peak_over_limit": 0.4,
    }
    said = applied.table([one, {**one, "plain_over_trial": [0.94, 0.9, 0.98]}])
    assert "| p | keep yours | 32 of 32 | 0.97 (0.95 – 0.99), 1.01 | 0.98 | 0.40 |" in said
    assert "Throughput within 5% of a trial's: 1 of 2." in said
