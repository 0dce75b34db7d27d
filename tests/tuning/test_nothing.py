"""Studies that end without an answer: the reason, and advice that fits it."""

from pathlib import Path
from typing import Any

import pytest

from perftune.errors import ArgumentsChangedError, NoCandidateError
from perftune.records.candidate import MICRO_BATCH
from perftune.records.recommendation import Decision, Rejection
from perftune.records.trial import Failure, Outcome, Purpose, Trial, TrialRequest
from perftune.tuning.nothing import nothing_completed, nothing_passed
from tests.tuning.made import empty_study, failed, trial, with_trials
from tests.tuning.scripted import ScriptedRunner, answer, run

STUDY = empty_study()
BASE = STUDY.space.base
LARGE = BASE.replace(**{MICRO_BATCH: 32})


def diverged(request: TrialRequest) -> Failure | None:
    """The user's own arguments never run; what else there is does, but has nothing to be compared with."""
    is_own = request.candidate.settings["precision"] == "fp32"
    return Failure(kind=Outcome.DIVERGED, message="the loss became nan in optimizer step 5") if is_own else None


def test_more_memory_is_advised_where_memory_was_missing_and_nowhere_else() -> None:
    full = with_trials(STUDY, failed(1, BASE, purpose=Purpose.SEARCH))
    assert str(nothing_completed(full)) == (
        "no candidate completed within 10% of headroom, so there is nothing to recommend: can't allocate memory. "
        "Raise target.memory, lower target.headroom, or allow smaller micro-batches"
    )
    wrong = failed(1, BASE).model_copy(
        update={"failure": Failure(kind=Outcome.CRASHED, message="forward() got an unexpected keyword")}
    )
    said = str(nothing_completed(with_trials(STUDY, wrong)))
    assert "forward() got an unexpected keyword. Mend that in the workload" in said
    assert "memory" not in said


def test_the_commonest_reasons_come_first_and_not_all() -> None:
    failures = ["a", "b", "b", "c", "d", "d", "d"]
    trials = [
        failed(n, BASE).model_copy(update={"failure": Failure(kind=Outcome.CRASHED, message=message)})
        for n, message in enumerate(failures)
    ]
    assert ": d; b; a. Mend" in str(nothing_completed(with_trials(STUDY, *trials)))


def test_where_the_users_own_do_not_run_it_says_so_with_what_was_noted() -> None:
    seen = STUDY.survey.model_copy(update={"notes": ("the weights that train are in float16",)})
    study = with_trials(STUDY, failed(1, BASE), trial(2, LARGE, (1.0,))).model_copy(update={"survey": seen})
    rejected = [Rejection(what="micro-batch 32", reason="its loss could not be compared")]
    said = str(nothing_passed(study, rejected))
    assert said.startswith(
        "your own arguments do not run here (can't allocate memory), and no other candidate passed the checks "
        "(micro-batch 32: its loss could not be compared). Note that the weights that train are in float16. "
    )
    assert "(there was no time for them)" in str(nothing_passed(study, []))


def test_a_study_whose_own_arguments_diverge_ends_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NoCandidateError, match=r"your own arguments do not run here \(the loss became nan"):
        run(tmp_path, ScriptedRunner(fault=diverged))


def test_a_workload_that_changes_its_arguments_ends_the_study_and_can_be_mended(tmp_path: Path) -> None:
    def changed(request: TrialRequest) -> Failure | None:
        if request.candidate.micro_batch == BASE.micro_batch:
            return None
        message = "the Trainer does not use the arguments that build(args) was given"
        return Failure(kind=Outcome.CRASHED, message=message, error_type="perftune.errors.ArgumentsChangedError")

    runner = ScriptedRunner(fault=changed)
    with pytest.raises(ArgumentsChangedError, match="does not use the arguments"):
        run(tmp_path, runner)
    assert runner.requests[-1].candidate.micro_batch != BASE.micro_batch
    assert all(one.candidate.micro_batch == BASE.micro_batch for one in runner.requests[:-1])
    mended = answer(run(tmp_path, ScriptedRunner(clock=runner.clock)))
    assert mended.candidate.micro_batch != BASE.micro_batch


class DrawsOtherRows(ScriptedRunner):
    """Whose trials draw other rows with another micro-batch than the user's own."""

    def run(self, request: TrialRequest, on_heartbeat: Any = None) -> Trial:
        trial = super().run(request, on_heartbeat)
        assert trial.measurement is not None
        seen = {"first_rows": str(request.candidate.micro_batch)}
        return trial.model_copy(update={"measurement": trial.measurement.model_copy(update=seen)})


def test_a_trial_that_draws_other_rows_than_the_users_own_ends_the_study(tmp_path: Path) -> None:
    with pytest.raises(ArgumentsChangedError, match=r"draws other rows .* Hold the micro-batch with `knobs: "):
        run(tmp_path, DrawsOtherRows())


def test_a_fault_that_is_the_same_in_the_first_two_candidates_ends_the_study(tmp_path: Path) -> None:
    def wrong(request: TrialRequest) -> Failure | None:
        return Failure(kind=Outcome.CRASHED, message="compute_loss() got an unexpected keyword argument")

    runner = ScriptedRunner(fault=wrong)
    with pytest.raises(NoCandidateError, match=r"compute_loss\(\) got an unexpected keyword argument\. Mend that"):
        run(tmp_path, runner)
    assert len(runner.requests) == 2


def test_faults_that_differ_or_are_of_one_candidate_do_not(tmp_path: Path) -> None:
    def own_only(request: TrialRequest) -> Failure | None:
        is_own = request.candidate == runner.requests[0].candidate
        return Failure(kind=Outcome.CRASHED, message="this alone crashes") if is_own else None

    runner = ScriptedRunner(fault=own_only)
    assert answer(run(tmp_path, runner)).decision is Decision.TUNED
    assert len(runner.requests) > 2
