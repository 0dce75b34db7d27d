"""First gradients of real Trainers, each in a process of its own: they agree where the mathematics is the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perftune.isolation.runner import ForkServerRunner
from perftune.measuring.gradients import MOST_GROUPS, REST, group_names
from perftune.records.candidate import Candidate
from perftune.records.gradients import GradientCheck, GradientSketch
from perftune.records.trial import Purpose, TrialRequest, WorkloadSource
from perftune.search.gradients import compare_gradients, is_hidden_by_chance

pytestmark = pytest.mark.long

WORKLOADS = Path(__file__).parents[1] / "workloads" / "tiny.py"
GLOBAL_BATCH = 8


class Sketches:
    """First gradients of the tiny workloads."""

    def __init__(self, runner: ForkServerRunner, folder: Path) -> None:
        self.runner, self.folder, self.number = runner, folder, 0

    def __call__(self, name: str, micro_batch: int = 8, num_processes: int = 1, **changes: Any) -> GradientSketch:
        self.number += 1
        settings = {"per_device_train_batch_size": micro_batch, **changes.pop("settings", {})}
        candidate = Candidate(settings=settings)
        set_by_candidate = candidate.training_arguments(GLOBAL_BATCH, num_processes)
        request = TrialRequest(
            number=self.number,
            purpose=Purpose.LOSS,
            candidate=candidate,
            workload=WorkloadSource(build=f"{WORKLOADS}:{name}", working_directory=str(self.folder)),
            arguments={"learning_rate": 1e-3, **changes.pop("arguments", {}), **set_by_candidate},
            num_processes=num_processes,
            exact_steps=1,
            **changes,
        )
        trial = self.runner.run(request)
        assert trial.failure is None, trial.failure.traceback
        assert trial.measurement is not None
        assert trial.measurement.first_gradient is not None
        (norm,) = trial.measurement.steps.grad_norm
        assert trial.measurement.first_gradient.norm == pytest.approx(norm, rel=1e-3)
        return trial.measurement.first_gradient


@pytest.fixture(scope="module")
def sketch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sketches]:
    with ForkServerRunner(tmp_path_factory.mktemp("run")) as runner:
        yield Sketches(runner, tmp_path_factory.mktemp("user"))


def compared(candidate: GradientSketch, reference: GradientSketch) -> GradientCheck:
    check = compare_gradients(candidate, reference)
    assert check is not None
    return check


@pytest.mark.parametrize("name", ["plain", "lora", "sft", "images"])
def test_another_micro_batch_has_the_same_gradient(sketch: Sketches, name: str) -> None:
    reference, candidate = sketch(name), sketch(name, micro_batch=2)
    assert (reference.num_micro_batches, candidate.num_micro_batches) == (1, 4)
    assert reference.samples_digest == candidate.samples_digest
    assert not reference.is_random
    check = compared(candidate, reference)
    assert check.passed
    assert check.is_exact
    assert 0 < check.worst.relative_difference < 1e-5
    assert check.worst.cosine == pytest.approx(1, abs=1e-9)


def test_clipping_comes_after(sketch: Sketches) -> None:
    norms = {limit: sketch("plain", arguments={"max_grad_norm": limit}).norm for limit in (1.0, 0.01, 0.0)}
    assert norms[0.01] == norms[0.0] == norms[1.0] > 0.1


def test_bf16_is_near_and_not_the_same(sketch: Sketches) -> None:
    reference = sketch("plain")
    for micro_batch in (8, 2):
        candidate = sketch("plain", micro_batch=micro_batch, settings={"precision": "bf16"})
        assert candidate.precision == "bf16"
        check = compared(candidate, reference)
        assert check.passed
        assert 1e-4 < check.whole.relative_difference < 0.05


def test_two_processes_have_the_gradient_of_one(sketch: Sketches) -> None:
    one, two = sketch("plain"), sketch("plain", micro_batch=2, num_processes=2)
    assert two.samples_digest == one.samples_digest
    assert compared(two, one).passed


@pytest.mark.parametrize("micro_batch", [1, 4])
@pytest.mark.parametrize("name", ["copied_step", "own_loss"])
def test_a_loss_that_is_not_divided_is_told_with_its_factor(sketch: Sketches, name: str, micro_batch: int) -> None:
    """Not exactly the accumulation steps: its mean over a micro-batch also weighs the tokens of short samples more."""
    check = compared(sketch(name, micro_batch=micro_batch), sketch(name))
    assert not check.passed
    assert check.is_exact
    assert check.whole.norm_ratio == pytest.approx(GLOBAL_BATCH / micro_batch, rel=0.2)
    assert "in every group: it grows with the accumulation steps, so the loss is not divided by them" in check.message


def test_dropout_does_not_hide_the_factor(sketch: Sketches) -> None:
    check = compared(sketch("copied_step_with_dropout", micro_batch=1), sketch("copied_step_with_dropout"))
    assert not check.passed
    assert not check.is_exact
    assert "times as large as that of your own arguments: it grows with the accumulation steps" in check.message


def test_without_dropout_the_factor_is_exact(sketch: Sketches) -> None:
    reference = sketch("copied_step_with_dropout", without_dropout=True)
    check = compared(sketch("copied_step_with_dropout", micro_batch=1, without_dropout=True), reference)
    assert not reference.is_random
    assert check.is_exact
    assert check.message == (
        "the gradient of the first step is 8.0 times that of your own arguments in every group: it grows with the "
        "accumulation steps, so the loss is not divided by them"
    )


@pytest.mark.parametrize("name", ["corrected_classifier", "seq2seq"])
def test_what_dropout_hides_is_seen_without_it(sketch: Sketches, name: str) -> None:
    by_chance = [sketch(name, micro_batch=micro_batch) for micro_batch in (4, 8)]
    assert all(found.is_random for found in by_chance)
    assert is_hidden_by_chance(*by_chance)
    check = compared(*by_chance)
    assert check.passed
    assert not check.is_exact
    assert check.whole.relative_difference > 0.1
    plainly = [sketch(name, micro_batch=micro_batch, without_dropout=True) for micro_batch in (4, 8)]
    assert not any(found.is_random for found in plainly)
    assert not is_hidden_by_chance(*plainly)


def test_a_loss_without_dropout_agrees(sketch: Sketches) -> None:
    plainly = [sketch("corrected_classifier", micro_batch=micro, without_dropout=True) for micro in (2, 8)]
    check = compared(*plainly)
    assert check.passed
    assert check.worst.relative_difference < 1e-5


def test_random_weights_hang_on_the_seed_alone(sketch: Sketches) -> None:
    """Not on what the process has inherited: another process, or the same study gone on with, starts from the same."""
    one, same, other = (sketch("without_seed", arguments={"seed": seed}) for seed in (7, 7, 8))
    assert one.samples_digest == other.samples_digest
    assert one == same
    assert compared(other, one).whole.relative_difference > 0.1


def test_other_samples_are_seen(sketch: Sketches) -> None:
    first, other = sketch("plain"), sketch("plain", arguments={"seed": 7})
    assert first.samples_digest != other.samples_digest
    assert not compared(other, first).is_exact


LLAMA = [
    "model.embed_tokens.weight",
    *(f"model.layers.{i}.self_attn.{part}_proj.weight" for i in range(24) for part in "qkvo"),
    *(f"model.layers.{i}.mlp.{part}_proj.weight" for i in range(24) for part in ("gate", "up", "down")),
    *(f"model.layers.{i}.{part}_layernorm.weight" for i in range(24) for part in ("input", "post_attention")),
    "model.norm.weight",
    "lm_head.weight",
]


def test_repeated_layers_are_one_group() -> None:
    found = group_names(LLAMA)
    assert len(set(found.values())) == MOST_GROUPS
    assert found["model.layers.17.mlp.up_proj.weight"] == "model.layers.*.mlp.up_proj"
    assert found["lm_head.weight"] == "lm_head"


def test_one_part_more_and_the_groups_are_coarser() -> None:
    found = group_names([*LLAMA, "model.layers.3.extra.gate.weight"])
    assert set(found.values()) == {
        "model.embed_tokens",
        "model.layers.*.self_attn",
        "model.layers.*.mlp",
        "model.layers.*.input_layernorm",
        "model.layers.*.post_attention_layernorm",
        "model.layers.*.extra",
        "model.norm",
        "lm_head",
    }


def test_more_modules_than_groups_leave_a_rest() -> None:
    found = group_names([f"tower_{i}.weight" for i in range(MOST_GROUPS + 1)])
    assert [found[f"tower_{i}.weight"] for i in (0, MOST_GROUPS - 2, MOST_GROUPS - 1, MOST_GROUPS)] == [
        "tower_0",
        f"tower_{MOST_GROUPS - 2}",
        REST,
        REST,
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("module.encoder.weight", "encoder"),
        ("_orig_mod.encoder.weight", "encoder"),
        ("encoder._checkpoint_wrapped_module.linear.weight", "encoder.linear"),
        ("base_model.model.model.layers.0.q_proj.lora_A.default.weight", "model.layers.*.q_proj.lora_A.default"),
        ("encoder.module.weight", "encoder.module"),
        ("temperature", "temperature"),
        ("0.weight", "*"),
    ],
)
def test_wrappers_are_left_out_of_names(name: str, expected: str) -> None:
    assert group_names([name]) == {name: expected}


def test_a_model_without_parameters_has_no_groups() -> None:
    assert group_names([]) == {}
