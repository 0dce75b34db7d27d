"""What a contender has to pass before it is recommended, and what is said of one that does not."""

from functools import partial
from pathlib import Path

import pytest

from perftune.errors import NoRoomError
from perftune.records.base import Setting
from perftune.records.candidate import PRECISION
from perftune.records.probe import Target
from perftune.records.recommendation import Decision
from perftune.records.trial import Failure, Outcome, Purpose, TrialRequest
from perftune.reports.verdict import verdict
from perftune.tuning.run_folder import run_folder
from perftune.tuning.study_file import load_study
from perftune.units import MIB
from tests.tuning.scripted import GLOBAL_BATCH, Physics, ScriptedRunner, answer, crash, run

pytestmark = pytest.mark.long


def differs_by(part: float, request: TrialRequest) -> float:
    """Of the loss of everything but the user's own arguments."""
    is_own = request.candidate.micro_batch == 8 and request.candidate.settings[PRECISION] == "fp32"
    return 0.0 if is_own else part


def test_a_loss_that_goes_its_own_way_is_rejected_and_said(tmp_path: Path) -> None:
    def shift(request: TrialRequest) -> float:
        return 0.1 if request.candidate.settings["precision"] == "bf16" else 0.0

    found = answer(run(tmp_path, ScriptedRunner(loss_shift=shift)))
    assert found.candidate.settings["precision"] == "fp32"
    assert any("the loss is higher than that of your own arguments" in item.reason for item in found.rejected)


def test_a_loss_that_scales_with_accumulation_is_named(tmp_path: Path) -> None:
    def shift(request: TrialRequest) -> float:
        return float(request.arguments["gradient_accumulation_steps"]) - 1

    found = answer(run(tmp_path, ScriptedRunner(loss_shift=shift)))
    assert found.candidate.micro_batch == 8
    assert any("averages its loss over the micro-batch" in item.reason for item in found.rejected)


def test_a_final_run_that_fails_gives_way_to_the_next(tmp_path: Path) -> None:
    def fault(request: TrialRequest) -> Failure | None:
        wide = request.candidate.micro_batch == GLOBAL_BATCH
        return crash(request) if request.purpose is Purpose.FINAL and wide else None

    found = answer(run(tmp_path, ScriptedRunner(fault=fault)))
    assert found.candidate.micro_batch < GLOBAL_BATCH
    assert any("no final today" in item.reason for item in found.rejected)


def test_headroom_is_kept(tmp_path: Path) -> None:
    target = Target(device="cpu", memory_bytes=900 * MIB, headroom=0.2)
    study = run(tmp_path, ScriptedRunner(), target=target)
    assert answer(study).headroom_bytes >= 0.2 * 900 * MIB


def test_headroom_is_that_of_the_run_that_needed_most(tmp_path: Path) -> None:
    needy = ScriptedRunner(extra_bytes=lambda request: 50 * MIB if request.purpose is Purpose.RACE else 0)
    study = run(tmp_path, needy)
    found = answer(study)
    final = next(t for t in study.trials if t.number == found.final_trial)
    assert final.measurement is not None
    needed = study.space.memory_limit_bytes - found.headroom_bytes
    assert needed == final.measurement.memory.peak_bytes + 50 * MIB


def test_a_candidate_with_one_run_over_the_headroom_is_rejected(tmp_path: Path) -> None:
    def extra(request: TrialRequest) -> int:
        is_own = request.candidate.settings["precision"] == "fp32"
        return 900 * MIB if request.purpose is Purpose.RACE and not is_own else 0

    target = Target(device="cpu", memory_bytes=1500 * MIB, headroom=0.1)
    found = answer(run(tmp_path, ScriptedRunner(extra_bytes=extra), target=target))
    assert found.candidate.settings["precision"] == "fp32"
    assert any("one of its runs needs more memory" in item.reason for item in found.rejected)


def test_a_loss_that_could_not_be_told_leaves_it_undecided_and_says_what_would_tell(tmp_path: Path) -> None:
    """Where the loss lies just at the tolerance no number of steps tells on which side of it."""
    found = answer(run(tmp_path, ScriptedRunner(loss_shift=partial(differs_by, 0.02))))
    assert found.decision is Decision.NOT_DECIDED
    assert found.best_so_far is not None
    assert found.best_so_far.settings[PRECISION] == "bf16"
    assert found.needs is not None
    assert found.needs.endswith("more, to compare its loss over 60 steps,")
    assert any("could not be told" in one.reason for one in found.rejected)


@pytest.mark.parametrize(("shifted", "decision"), [(0.0, Decision.TUNED), (0.1, Decision.KEEP_YOURS)])
def test_a_loss_that_dropout_hides_is_told_without_dropout(tmp_path: Path, shifted: float, decision: Decision) -> None:
    runner = ScriptedRunner(loss_shift=partial(differs_by, shifted), has_dropout=True)
    found = answer(run(tmp_path, runner))
    looked = [request for request in runner.requests if request.without_dropout]
    assert {request.purpose for request in looked} == {Purpose.WITHOUT_DROPOUT}
    assert {request.exact_steps for request in looked} == {10}
    assert found.decision is decision
    if decision is Decision.TUNED:
        assert found.loss_check is not None
        assert found.loss_check.num_steps == 10
        assert found.loss_check.message.endswith("with dropout left out of both")


def test_the_final_trial_has_everything_in_its_memory(tmp_path: Path) -> None:
    runner = ScriptedRunner()
    found = answer(run(tmp_path, runner))
    final = next(request for request in runner.requests if request.number == found.final_trial)
    assert final.purpose is Purpose.FINAL
    assert final.candidate == found.candidate
    assert final.evaluate
    assert final.save_checkpoint
    assert final.worst_batch[0] == 100
    assert len(final.worst_batch) == found.candidate.micro_batch


def test_contenders_that_come_to_the_same_without_their_idle_lines_are_checked_once(tmp_path: Path) -> None:
    found = answer(run(tmp_path, ScriptedRunner(loss_shift=partial(differs_by, 0.1))))
    said = [item for item in found.rejected if "the loss is higher" in item.reason]
    assert said
    assert len({item.what for item in said}) == len(said)


CHECKPOINT = 120 * MIB


def without_room(request: TrialRequest) -> Failure | None:
    """A checkpoint finds a full disk."""
    if not request.save_checkpoint:
        return None
    return Failure(kind=Outcome.DISK_FULL, message="the disk is full: no checkpoint", disk_bytes=CHECKPOINT)


def test_a_full_disk_leaves_it_undecided_and_the_same_command_goes_on_once_there_is_room(tmp_path: Path) -> None:
    whole = answer(run(tmp_path / "whole", ScriptedRunner()))
    full = ScriptedRunner(fault=without_room)
    study = run(tmp_path / "full", full)
    found = answer(study)
    assert found.decision is Decision.NOT_DECIDED
    assert found.best_so_far == whole.candidate
    assert f"about 120.00 MiB of free disk space in {tmp_path / 'full'}, for a checkpoint, would tell" in verdict(study)
    assert sum(request.save_checkpoint for request in full.requests) == 1, "the next would find no room either"
    assert all(trial.outcome is Outcome.COMPLETED for trial in study.trials)
    assert not study.is_finished
    assert run_folder(study.probe, out=tmp_path / "full").resumed
    again = ScriptedRunner()
    study = run(tmp_path / "full", again)
    assert answer(study).decision is Decision.TUNED
    assert answer(study).candidate == whole.candidate
    assert study.is_finished
    first = {request.number for request in full.requests if not request.save_checkpoint}
    assert not first & {request.number for request in again.requests}, "nothing that was finished is run twice"


def test_a_full_disk_keeps_the_users_own_where_nothing_is_better(tmp_path: Path) -> None:
    same = Physics(bf16_factor=1.0, overhead_seconds=0.0)
    knobs: dict[str, tuple[Setting, ...]] = {"precision": ("fp32", "bf16"), "optim": ("adamw_torch_fused",)}
    study = run(tmp_path, ScriptedRunner(physics=same, fault=without_room), knobs=knobs)
    assert answer(study).decision is Decision.KEEP_YOURS
    assert study.is_finished
    assert any("no room on the disk for a checkpoint, which takes about 120.00 MiB" in n for n in answer(study).notes)


@pytest.mark.parametrize("purpose", [Purpose.SEARCH, Purpose.RACE])
def test_a_full_disk_in_another_trial_ends_the_study_and_says_nothing_of_the_candidate(
    tmp_path: Path, purpose: Purpose
) -> None:
    def fault(request: TrialRequest) -> Failure | None:
        wide = request.candidate.micro_batch == GLOBAL_BATCH and request.purpose is purpose
        return Failure(kind=Outcome.DISK_FULL, message="the disk is full (of logs)") if wide else None

    with pytest.raises(NoRoomError, match=r"trial \d+: the disk is full \(of logs\)\. Free some space and run"):
        run(tmp_path, ScriptedRunner(fault=fault))
    stopped = load_study(tmp_path / "study.json")
    assert stopped.trials
    assert all(trial.outcome is Outcome.COMPLETED for trial in stopped.trials)
    study = run(tmp_path, ScriptedRunner())
    assert study.trials[: len(stopped.trials)] == stopped.trials
    assert answer(study).candidate.micro_batch == GLOBAL_BATCH
