"""What a contender has to pass before it is recommended, and what is said of one that does not."""

from functools import partial
from pathlib import Path

import pytest

from perftune.records.candidate import PRECISION
from perftune.records.probe import Target
from perftune.records.recommendation import Decision
from perftune.records.trial import Failure, Purpose, TrialRequest
from perftune.units import MIB
from tests.tuning.scripted import GLOBAL_BATCH, ScriptedRunner, answer, crash, run

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
