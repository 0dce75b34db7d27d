"""What an answer notes of the final trial: what of evaluation and checkpoint is not in its figures."""

import pytest

from perftune.devices.cuda_allocator import NAMES
from perftune.records.recommendation import Recommendation
from perftune.records.study import Study
from perftune.records.trial import Evaluation, Purpose
from perftune.tuning.answer import recommend
from perftune.tuning.checks import Verified
from tests.tuning.made import empty_study, heat, trial, with_trials

STUDY = empty_study()
BASE = STUDY.space.base
BF16 = BASE.replace(precision="bf16")
LOGITS = "what your Trainer keeps of each, such as logits, takes more memory with all of them than is told here"


def notes(num_eval_samples: int | None = None, save_strategy: str | None = None, **measured: object) -> list[str]:
    """Of a study in which bf16 won."""
    study = with_trials(STUDY, *heat(1, (BF16, (1.0,) * 4), (BASE, (2.0,) * 4)))
    seen = study.survey.model_copy(update={"num_eval_samples": num_eval_samples, "worst_samples": ()})
    own = {**study.probe.training_arguments, **({"save_strategy": save_strategy} if save_strategy else {})}
    probe = study.probe.model_copy(update={"training_arguments": own})
    final = trial(9, BF16, (1.0,), purpose=Purpose.FINAL, **measured)
    whole: Study = with_trials(study, final).model_copy(update={"survey": seen, "probe": probe})
    return list(recommend(whole, Verified(BF16, None, final), [BF16, BASE], []).notes)


def evaluated(num_samples: int) -> Evaluation:
    return Evaluation(num_samples=num_samples, seconds=1.0, per_device_eval_batch_size=8)


@pytest.mark.parametrize(("num_samples", "is_said"), [(6000, True), (2001, True), (2000, False), (None, False)])
def test_a_part_of_the_evaluation_set_is_said(num_samples: int | None, is_said: bool) -> None:
    found = [note for note in notes(num_samples, evaluation=evaluated(2000)) if "evaluation" in note]
    took = {6000: "3.0 s", 2001: "1.0 s"}.get(num_samples or 0)
    said = (
        f"evaluation was run on the first 2,000 of {num_samples or 0:,} samples, and all of them would take about "
        f"{took}; {LOGITS}"
    )
    assert found == ([said] if is_said else [])


def test_what_evaluation_raised_is_said() -> None:
    assert "evaluation raised ValueError: no; its memory is not in the figures" in notes(
        evaluation_error="ValueError: no"
    )


@pytest.mark.parametrize(
    ("strategy", "so"),
    [("no", ", and with save_strategy “no” none is written"), (None, "; your own training would fail there, too")],
)
def test_a_checkpoint_that_cannot_be_written_is_said(strategy: str | None, so: str) -> None:
    found = notes(save_strategy=strategy, checkpoint_error="RuntimeError: some tensors share memory")
    assert f"a checkpoint cannot be written: it raised RuntimeError: some tensors share memory{so}" in found


def held(value: str, own: str) -> Recommendation:
    """Of a study that keeps the user's own, whose shell has one allocator and whose probe holds another."""
    study = empty_study(knobs={"precision": ("bf16",)})
    base = study.space.base.replace(cuda_allocator=value, attn_implementation="eager")
    seen = study.survey.model_copy(
        update={"base": {**study.survey.base, "cuda_allocator": own, "attn_implementation": "sdpa"}}
    )
    space = study.space.model_copy(update={"base": base})
    study = with_trials(study.model_copy(update={"survey": seen, "space": space}), trial(1, base, (1.0,) * 4, heat=1))
    return recommend(study, Verified(base, None, None), [base], [])


def test_what_the_probe_holds_is_in_the_answer_though_the_base_has_it_too() -> None:
    found = held("expandable_segments:True", "default")
    assert found.arguments["bf16"] is True
    assert found.attn_implementation == "eager"
    assert found.environment == dict.fromkeys(NAMES, "expandable_segments:True")


@pytest.mark.parametrize(
    ("value", "own", "said"),
    [("default", "default", {}), ("x:1", "x:1", {}), ("default", "x:1", dict.fromkeys(NAMES, ""))],
)
def test_the_shell_is_told_to_change_only_where_it_has_to(value: str, own: str, said: dict[str, str]) -> None:
    assert held(value, own).environment == said


def test_without_any_of_this_there_is_nothing_to_say() -> None:
    assert not [note for note in notes(evaluation=evaluated(100)) if "evaluation" in note or "checkpoint" in note]
