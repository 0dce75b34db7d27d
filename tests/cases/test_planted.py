"""Workloads that train something else than they say: no trial of one can be recommended, however it is planted."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from perftune.errors import WorkloadError
from perftune.records.trial import Trial
from perftune.search.gradients import compare_gradients
from perftune.search.same_training import trains_otherwise
from tests.cases.running import GLOBAL_BATCH, MICRO_BATCH, WORKLOADS, Cases, server

pytestmark = pytest.mark.long

CHANGED = "perftune.errors.ArgumentsChangedError"
REFUSED_AT_ONCE = {
    "build_sets_micro_batch": "per_device_train_batch_size is 4 and not 8",
    "build_sets_optimizer": "optim is 'adafactor' and not 'adamw_torch_fused'",
    "build_lets_the_batch_be_found": "auto_find_batch_size is True and not False",
}
REFUSED_IN_A_TRIAL = {
    "build_sets_accumulation": "gradient_accumulation_steps is 1 and not 4",
    "build_makes_its_own_arguments": "per_device_train_batch_size is 8 and not 2; gradient_accumulation_steps is 1 and",
    "build_copies_and_drops_precision": "bf16 is False and not True",
    "build_changes_arguments_afterwards": "gradient_accumulation_steps is 1 and not 4",
    "loader_ignores_micro_batch": "an optimizer step trained on 16 samples where 8 were asked for",
    "batch_sampler_of_fixed_size": "an optimizer step trained on 16 samples where 8 were asked for",
    "callback_changes_arguments": "changed while it trained, .*: gradient_accumulation_steps was 4 and became 1",
    "callback_grows_the_batch": "changed while it trained, .*: gradient_accumulation_steps was 4 and became",
}
REFUSED_BESIDE_THE_USERS_OWN = {
    "samples_are_left_out": "draws other rows of the data",
    "sampler_depends_on_micro_batch": "draws other rows of the data",
    "rows_depend_on_micro_batch": "the rows of the train data hold something else",
    "step_in_every_micro_batch": "an optimizer makes 4 steps within one",
    "samples_are_cut": "the model is given 50% of the tokens",
    "samples_are_cut_in_the_loss": "the model is given 50% of the tokens",
    "samples_are_dropped_in_the_step": "the model is given 100% of the tokens .* and 25% with your own",
    "learning_rate_by_batch_size": "the learning rate is 0.002, and 0.008 with your own",
    "callback_sets_learning_rate": "the learning rate is 0.001 and 0.002, and 0.001 and 0.008 with your own",
    "streamed_batches": "trains on 4 times the samples",
}
ANOTHER_GRADIENT = {
    "step_forgets_accumulation": "4.0 times",
    "loss_is_divided_twice": "0.25 times",
    "step_keeps_the_last_micro_batch": "not that of your own arguments",
    "freezes_by_micro_batch": "not that of your own arguments",
    "learning_rate_by_micro_batch": "times that of your own arguments in every group",
}
HELD = {
    "loss_is_summed": MICRO_BATCH,
    "samples_are_compared": MICRO_BATCH,
    "stream_repeats_with_workers": "dataloader_num_workers",
}
NO_KNOB = {"optimizer_is_never_read": "optim"}
NOTED = {"weights_are_half": "the weights that train are in float16"}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    with server(tmp_path_factory.mktemp("run")) as runner:
        yield Cases(runner, tmp_path_factory.mktemp("user"))


def pair(cases: Cases, name: str) -> tuple[Trial, Trial]:
    """A trial of another micro-batch, and one of the user's own."""
    other, own = (cases.trial(f"planted.py:{name}", size) for size in (2, GLOBAL_BATCH))
    assert [trial.failure and trial.failure.traceback for trial in (other, own)] == [None, None]
    return other, own


@pytest.mark.parametrize("name", REFUSED_AT_ONCE)
def test_refused_before_the_first_trial(cases: Cases, name: str) -> None:
    with pytest.raises(WorkloadError, match=f"was given: {REFUSED_AT_ONCE[name]}"):
        cases.survey(f"planted.py:{name}")


@pytest.mark.parametrize("name", REFUSED_IN_A_TRIAL)
def test_refused_by_the_trial_itself(cases: Cases, name: str) -> None:
    arguments: dict[str, Any] = {"bf16": True} if "precision" in name else {}
    failure = cases.trial(f"planted.py:{name}", 2, arguments).failure
    assert failure is not None
    assert failure.error_type == CHANGED
    assert re.search(REFUSED_IN_A_TRIAL[name], failure.message)


@pytest.mark.parametrize("name", REFUSED_BESIDE_THE_USERS_OWN)
def test_refused_beside_a_trial_of_the_users_own(cases: Cases, name: str) -> None:
    said = trains_otherwise(*pair(cases, name))
    assert said is not None
    assert re.search(REFUSED_BESIDE_THE_USERS_OWN[name], said)


@pytest.mark.parametrize("name", ANOTHER_GRADIENT)
def test_rejected_by_the_gradient_of_the_first_step(cases: Cases, name: str) -> None:
    measured = [trial.measurement for trial in pair(cases, name)]
    check = compare_gradients(*[one and one.first_gradient for one in measured])
    assert check is not None
    assert not check.passed
    assert ANOTHER_GRADIENT[name] in check.message


@pytest.mark.parametrize("name", [*HELD, *NO_KNOB, *NOTED])
def test_seen_in_the_survey(cases: Cases, name: str) -> None:
    survey = cases.survey(f"planted.py:{name}")
    if name in HELD:
        own = {MICRO_BATCH: GLOBAL_BATCH, "dataloader_num_workers": 0}
        assert survey.supported[HELD[name]] == (own[HELD[name]],)
    elif name in NO_KNOB:
        assert survey.supported[NO_KNOB[name]] == ()
    else:
        assert any(NOTED[name] in note for note in survey.notes)


def test_every_planted_kind_is_stopped_somewhere() -> None:
    groups = (REFUSED_AT_ONCE, REFUSED_IN_A_TRIAL, REFUSED_BESIDE_THE_USERS_OWN, ANOTHER_GRADIENT, HELD, NO_KNOB, NOTED)
    text = (WORKLOADS / "planted.py").read_text()
    planted = set(re.findall(r"^def ([a-z]\w*)\(args: TrainingArguments\) ->", text, re.M))
    assert planted == {name for group in groups for name in group}
    assert len(planted) >= 15
