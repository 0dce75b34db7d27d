"""Workloads after public reports: each is surveyed and trained in trials, and the answer is the one that is right."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from perftune.errors import WorkloadError
from perftune.records.trial import Measurement
from perftune.search.gradients import compare_gradients
from perftune.search.same_training import trains_otherwise
from tests.cases.running import ARGUMENTS, GLOBAL_BATCH, MICRO_BATCH, STEPS, WORKLOADS, Cases, server

pytestmark = pytest.mark.long

UNDIVIDED = "leaves the correction for accumulation to it"
COMPANY = "depends on who else is in a micro-batch"
SAME, NEARLY, ANOTHER = "the same gradient", "nearly the same gradient", "another gradient"
EVALUATED = {
    "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1, "metric_for_best_model": "loss",
    "load_best_model_at_end": True,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One workload with what is right of it."""

    build: str
    held: str | None = None
    """A part of the reason that the micro-batch stays for; None: it is tuned."""
    gradient: str = SAME
    """With a quarter of the micro-batch, beside that of the user's own."""
    tokens: bool = True
    random: bool = False
    """Random numbers are drawn, so that no gradient is exactly another."""
    otherwise: str | None = None
    """What a trial with another micro-batch is refused for, beside the user's own."""
    optimizer: str | None = None
    """Why `optim` is no knob."""
    note: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    """What the trial with the other micro-batch changes beside."""


CASES = [
    Case("texts.py:plain", settings={"dataloader_num_workers": 1}),
    Case("texts.py:seq2seq_generates", held=UNDIVIDED, gradient=ANOTHER),
    Case("texts.py:several_turns"),
    Case("texts.py:padding_free"),
    Case("texts.py:masked", held=UNDIVIDED, gradient=ANOTHER, random=True),
    Case("texts.py:sequences_sorted"),
    Case("texts.py:grouped_by_length", arguments={"train_sampling_strategy": "group_by_length"}),
    Case("texts.py:streamed", note="the data has no length"),
    Case("texts.py:streamed_by_datasets"),
    Case("texts.py:mapped_by_datasets"),
    Case("texts.py:mixture_of_experts", gradient=NEARLY),
    Case("texts.py:early_stopping", arguments=EVALUATED),
    Case("texts.py:label_smoothing", arguments={"label_smoothing_factor": 0.1}),
    Case("texts.py:classifier", held=UNDIVIDED, gradient=ANOTHER),
    Case("texts.py:several_evaluation_sets"),
    Case("texts.py:half_weights", note="the weights that train are in bfloat16"),
    Case("losses.py:focal"),
    Case("losses.py:focal_undivided", held=UNDIVIDED, gradient=ANOTHER),
    Case("losses.py:weighted", gradient=ANOTHER),
    Case("losses.py:summed", held=COMPANY, gradient=ANOTHER),
    Case("losses.py:by_function"),
    Case("losses.py:distillation"),
    Case("losses.py:several_tasks"),
    Case("losses.py:batch_norm", held="BatchNorm2d in Normed", gradient=NEARLY, tokens=False),
    Case("losses.py:frozen_batch_norm", tokens=False),
    Case("losses.py:simcse", held=COMPANY, gradient=ANOTHER, random=True),
    Case("losses.py:hardest_triplets", held=COMPANY, gradient=ANOTHER),
    Case("losses.py:image_and_text", held=COMPANY, gradient=ANOTHER),
    Case("losses.py:two_towers", held=COMPANY, gradient=ANOTHER),
    Case("losses.py:reads_loss"),
    Case("embeddings.py:ranking", held=COMPANY, gradient=ANOTHER),
    Case("embeddings.py:similarity"),
    Case("preferences.py:sft"),
    Case("preferences.py:sft_packed"),
    Case("preferences.py:sft_padding_free"),
    Case("preferences.py:dpo"),
    Case("preferences.py:reward"),
    Case("preferences.py:kto", otherwise="the rows of the train data hold something else"),
    Case("preferences.py:grpo", random=True, note="makes its tensors within the step"),
    Case(
        "preferences.py:grpo_two_batches", held="from 16 rows of the data at a time", gradient=ANOTHER, random=True,
        otherwise="draws other rows of the data",
    ),
    Case("adapters.py:lora"),
    Case("adapters.py:ia3"),
    Case("adapters.py:prompt_tuning"),
    Case("adapters.py:prefix_tuning"),
    Case("adapters.py:callback_saves_adapter", note="KeepsAdapter.on_train_end"),
    Case("media.py:vision", tokens=False),
    Case("media.py:mixed_up", tokens=False, random=True),
    Case("media.py:ctc_sum", tokens=False),
    Case("media.py:ctc_sum_divided", held=COMPANY, gradient=ANOTHER, tokens=False),
    Case("media.py:ctc_mean", tokens=False),
    Case("media.py:ctc_mean_undivided", held=UNDIVIDED, gradient=ANOTHER, tokens=False),
    Case("media.py:graphs", tokens=False),
    Case("media.py:data_classes", tokens=False),
    Case("loaders.py:own_loader"),
    Case("loaders.py:without_train_dataset"),
    Case("loaders.py:class_balanced"),
    Case("loaders.py:curriculum"),
    Case("loaders.py:own_generator", tokens=False),
    Case("loaders.py:tuples", tokens=False),
    Case("loaders.py:pairs", tokens=False),
    Case("loaders.py:tied_and_never_saved", gradient=NEARLY, arguments={"save_strategy": "no"}),
    Case("loaders.py:reads_the_log", tokens=False),
    Case("loops.py:own_step"),
    Case("loops.py:clips_by_hand"),
    Case("loops.py:two_optimizers", tokens=False, gradient=ANOTHER, otherwise="an optimizer makes 4 steps"),
    Case("loops.py:own_create_optimizer", optimizer="LayerWise.create_optimizer makes an optimizer of its own"),
    Case("loops.py:own_schedule", optimizer="BothMade.create_optimizer_and_scheduler makes an optimizer of its own"),
    Case("loops.py:handed_optimizers", optimizer="is given an optimizer of its own"),
    Case("loops.py:heeds_optim"),
    Case("loops.py:moving_average"),
    Case("loops.py:thawing"),
    Case("loops.py:from_model_init"),
]  # fmt: skip

REFUSED = {
    "loops.py:older_compute_loss": "Older.compute_loss takes no num_items_in_batch, which transformers .* hands to it, "
    "so it cannot train; add `num_items_in_batch=None` to its arguments",
    "loops.py:older_training_step": "OlderStep.training_step takes no num_items_in_batch",
    "loops.py:setfit": "returned a Trainer of setfit, .* is no transformers.Trainer.*SentenceTransformerTrainer",
    "loops.py:a_model": "returned LlamaForCausalLM, a model; it should return a transformers.Trainer that holds it",
    "loops.py:trained_already": "returned what train.. returns; .*leave train.. to perftune",
    "loops.py:without_data": "training requires a train_dataset",
}
"""Workloads that do not train, or not with transformers' Trainer -> a part of the one sentence that is said."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    with server(tmp_path_factory.mktemp("run")) as runner:
        yield Cases(runner, tmp_path_factory.mktemp("user"))


def agreement(one: Measurement, own: Measurement) -> str:
    check = compare_gradients(one.first_gradient, own.first_gradient)
    assert check is not None
    if not check.passed:
        return ANOTHER
    return NEARLY if check.is_split else SAME


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.build)
def test_case_is_surveyed_and_trained_as_is_right(cases: Cases, case: Case) -> None:
    survey = cases.survey(case.build, **case.arguments)
    reason = " ".join(survey.unsupported.get(MICRO_BATCH, {}).values())
    assert (case.held or "") in reason
    assert bool(reason) == (case.held is not None), reason
    assert (survey.supported.get(MICRO_BATCH) == (GLOBAL_BATCH,)) == (case.held is not None)
    assert (case.optimizer or "") in " ".join(survey.unsupported.get("optim", {}).values())
    assert (survey.supported["optim"] == ()) == (case.optimizer is not None)
    assert any((case.note or "") in note for note in survey.notes) or case.note is None

    worst = tuple(sample.index for sample in survey.worst_samples)
    trials = [
        cases.trial(
            case.build, size, case.arguments, worst_batch=worst[:size], evaluate=True, evaluation_seconds=1.0, **changes
        )
        for size, changes in ((GLOBAL_BATCH, {"save_checkpoint": True}), (2, {"settings": case.settings}))
    ]
    assert [trial.failure and trial.failure.traceback for trial in trials] == [None, None]
    own, other = (trial.measurement for trial in trials)
    assert own is not None
    assert other is not None
    assert own.steps.num_samples == other.steps.num_samples == (GLOBAL_BATCH,) * STEPS
    assert (min(own.steps.num_tokens) > 0) == case.tokens
    assert own.steps.num_tokens == other.steps.num_tokens or case.held is not None
    assert own.worst_batch_ran == bool(worst)
    assert own.evaluation_error is None
    otherwise = trains_otherwise(trials[1], trials[0])
    assert (case.otherwise or "None") in str(otherwise)
    if case.gradient == SAME and not case.random:
        assert own.steps.loss == pytest.approx(other.steps.loss, rel=1e-3)
    assert agreement(other, own) == case.gradient
    assert list(cases.folder.iterdir()) == [], "nothing of the user's own is written"


@pytest.mark.parametrize("build", REFUSED)
def test_what_cannot_be_probed_is_said_in_a_sentence_that_fits(cases: Cases, build: str) -> None:
    with pytest.raises(WorkloadError, match=REFUSED[build]):
        cases.survey(build)


def test_a_checkpoint_that_cannot_be_written_is_a_note(cases: Cases) -> None:
    error = cases.measured("loaders.py:tied_and_never_saved", 8, save_checkpoint=True).checkpoint_error
    assert error is not None
    assert "share memory" in error


def test_a_balanced_loader_holds_the_micro_batch_that_it_gives(cases: Cases) -> None:
    survey = cases.survey("loaders.py:balanced")
    assert survey.supported[MICRO_BATCH] == (8,)
    assert survey.unsupported[MICRO_BATCH]["other than 8"].startswith(
        "the data loader of Balanced gives 8 samples where per_device_train_batch_size is 4"
    )
    assert cases.measured("loaders.py:balanced", 8).steps.num_samples == (8, 8)


def test_evaluation_that_generates_is_no_longer_than_it_may_be(cases: Cases) -> None:
    build = "texts.py:seq2seq_generates"
    short = cases.measured(build, 8, evaluate=True, evaluation_seconds=1e-3).evaluation
    whole = cases.measured(build, 8, evaluate=True).evaluation
    assert short is not None
    assert whole is not None
    assert (short.num_samples, whole.num_samples) == (8, 16)


def test_evaluation_without_an_end_is_ended_and_the_trial_completes(cases: Cases) -> None:
    found = cases.measured("loops.py:endless_evaluation", 8, evaluate=True, evaluation_seconds=-2.0)
    assert found.evaluation is None
    assert found.evaluation_error == "TimeoutError: it took longer than the 1 s that a trial gives to it"


def test_every_workload_is_a_case() -> None:
    built = {case.build for case in CASES} | {*REFUSED, "loaders.py:balanced", "loops.py:endless_evaluation"}
    files = [path for path in WORKLOADS.glob("*.py") if path.name not in ("made.py", "planted.py")]
    found = {f"{p.name}:{name}" for p in files for name in re.findall(r"^def ([a-z]\w*)\(args: ", p.read_text(), re.M)}
    assert found == built
    assert ARGUMENTS["max_steps"] > STEPS, "no case ends by itself"
