"""One training step of real, small models: its sizes grow evenly, its parts add up, and it says what it cannot do."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from perftune.errors import WorkloadError
from perftune.isolation.protocol import PRELOAD_TO_TRACE
from perftune.isolation.runner import ForkServerRunner
from perftune.plan.program import Part
from perftune.plan.tapes import DifferentTapesError, family, in_order
from perftune.records.candidate import CHECKPOINTING
from perftune.records.trace import Tape
from tests.tracing.models import HEADS, HIDDEN, LAYERS, LENGTH, READS_IN_LINE, VOCAB
from tests.tracing.tracing import IGNORED, MODELS, alive_after, bytes_of, operators, request, traced

pytestmark = pytest.mark.long

pytestmark = pytest.mark.filterwarnings(*IGNORED)
BF16 = {"bf16": True}
CHECKPOINTED = {CHECKPOINTING: True}


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("llama", {}),
        ("padded_llama", {"arguments": BF16}),
        ("llama", {"arguments": CHECKPOINTED | BF16, "attn_implementation": "eager"}),
        ("bert", {"arguments": BF16, "attn_implementation": "eager"}),
        ("t5", {}),
        ("llama", {"semantics": "cpu"}),
    ],
    ids=["llama", "padded", "checkpointed", "bert", "t5", "cpu"],
)
def test_two_micro_batches_tell_a_third(model: str, fields: dict[str, Any], tmp_path: Path) -> None:
    first, second, third = traced(model, tmp_path, micro_batches=(2, 4, 7), **fields).steps
    assert [step.num_padded_tokens for step in (first, second, third)] == [2 * LENGTH, 4 * LENGTH, 7 * LENGTH]
    found = family(first, second)
    assert tuple(found.events) == in_order(third.tape).events
    assert tuple(found.sizes.at(7)) == third.tape.sizes
    assert tuple(found.flops.at(7)) == third.tape.ops.flops
    assert tuple(found.num_bytes.at(7)) == third.tape.ops.num_bytes
    assert found.example.ops.name == third.tape.ops.name
    assert first.tape.gradients == third.tape.gradients


def test_a_step_that_branches_is_no_family(tmp_path: Path) -> None:
    first, second = traced("branches", tmp_path, micro_batches=(2, 4)).steps
    with pytest.raises(DifferentTapesError):
        family(first, second)


def test_parts_add_up(tmp_path: Path) -> None:
    found = traced("llama", tmp_path)
    (step,), (optimizer,) = found.steps, found.optimizers
    tape = step.tape
    assert sum(found.parameter_bytes) == 4 * found.num_parameters == found.trainable_bytes
    assert [tape.sizes[number] for number in sorted(tape.gradients)] != []
    assert sorted(tape.sizes[number] for number in tape.gradients) == sorted(found.parameter_bytes)
    alive = alive_after(tape.events, tape.marks["micro_0_ends"])
    assert set(tape.gradients) <= alive
    others = sum(tape.sizes[number] for number in alive - set(tape.gradients))
    assert others <= 2 * 8 * 2 * LENGTH + 1024, "beside the gradients no more than inputs and the loss"
    assert bytes_of(tape, Part.GRADIENTS) == sum(found.parameter_bytes)
    assert bytes_of(tape, Part.ACTIVATIONS) > LAYERS * 2 * LENGTH * HIDDEN * 4 * 4
    assert optimizer.tape is not None
    left = alive_after(optimizer.tape.events, optimizer.tape.marks["step_1_ends"])
    steps = 4 * len(found.parameter_bytes)
    assert sum(optimizer.tape.sizes[number] for number in left) == 2 * sum(found.parameter_bytes) + steps


def test_the_second_micro_step_adds_to_the_gradients_of_the_first(tmp_path: Path) -> None:
    tape = traced("llama", tmp_path).steps[0].tape
    first = [event for event in tape.events[: tape.marks["micro_0_ends"]] if event > 0]
    second = [event for event in tape.events[tape.marks["micro_1"] : tape.marks["micro_1_ends"]] if event > 0]
    assert len(first) == pytest.approx(len(second), abs=4)
    freed = {-event - 1 for event in tape.events[tape.marks["micro_1"] : tape.marks["micro_1_ends"]] if event < 0}
    assert not freed & set(tape.gradients)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_checkpointing_lowers_activations_and_computes_twice(attention: str, tmp_path: Path) -> None:
    tapes = []
    for number, arguments in enumerate(({}, CHECKPOINTED)):
        fields: dict[str, Any] = {"arguments": BF16 | arguments, "attn_implementation": attention}
        tapes.append(traced("llama", tmp_path / str(number), micro_batches=(8,), **fields).steps[0].tape)
    plain, less = tapes
    assert bytes_of(less, Part.ACTIVATIONS) < bytes_of(plain, Part.ACTIVATIONS) * 0.6
    again = [operators(tape, "backward_0", "micro_0_ends") for tape in tapes]
    assert len(again[1]) > len(again[0]) + LAYERS * 20
    if attention == "sdpa":
        assert [ops.count("flash_attention") for ops in again] == [LAYERS, 2 * LAYERS]
        assert not any("scaled_dot_product" in name for tape in tapes for name in tape.ops.names)
    else:
        softmax = [sum("softmax" in name and "backward" not in name for name in ops) for ops in again]
        assert softmax[1] - softmax[0] == LAYERS
        layers = matrices(plain) - head_flops(8)
        assert layers / 4 < matrices(less) - matrices(plain) <= layers / 3, "forward again, a third of the whole"


@pytest.mark.parametrize(("given", "is_reentrant"), [({}, False), ({"use_reentrant": True}, True)])
def test_a_trace_tells_whether_checkpoints_are_reentrant(
    given: dict[str, bool], is_reentrant: bool, tmp_path: Path
) -> None:
    arguments = CHECKPOINTED | {"gradient_checkpointing_kwargs": given}
    assert traced("llama", tmp_path, arguments=arguments, micro_batches=(1,)).is_reentrant is is_reentrant
    assert not traced("llama", tmp_path / "plain", micro_batches=(1,)).is_reentrant


def head_flops(micro_batch: int) -> float:
    """Forward and backward of the head, which is in no checkpoint."""
    return 3 * 2 * micro_batch * LENGTH * HIDDEN * VOCAB


def matrices(tape: Tape) -> float:
    """FLOPs of the first micro-step, the few of positions (fp32) left out."""
    end = tape.op_marks["micro_0_ends"]
    return sum(
        flops for flops, dtype in zip(tape.ops.flops[:end], tape.ops.dtype[:end], strict=True) if dtype == "bf16"
    )


def test_fused_attention_has_no_matrix_of_pairs_and_eager_has(tmp_path: Path) -> None:
    pairs = 2 * HEADS * LENGTH * LENGTH
    for model in ("llama", "padded_llama"):
        makers = {}
        for name in ("sdpa", "eager"):
            tape = traced(model, tmp_path / model / name, attn_implementation=name).steps[0].tape
            makers[name] = {tape.ops.names[tape.ops.name[op]] for op, size in zip(tape.op, tape.sizes, strict=True)
                            if size == 4 * pairs}  # fmt: skip
        assert "aten::_softmax" in makers["eager"]
        assert "aten::_softmax" not in makers["sdpa"]
        assert not any("bmm" in name for name in makers["sdpa"])


def test_modules_are_named_where_memory_is_made(tmp_path: Path) -> None:
    tape = traced("llama", tmp_path).steps[0].tape
    named = {tape.modules[number] for number in tape.module}
    assert {"model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj", "lm_head"} <= named


def test_mixed_precision_keeps_half_of_the_activations(tmp_path: Path) -> None:
    full, mixed = (traced("bert", tmp_path / str(bf16), arguments={"bf16": bf16}) for bf16 in (False, True))
    assert bytes_of(mixed.steps[0].tape, Part.ACTIVATIONS) < bytes_of(full.steps[0].tape, Part.ACTIVATIONS)
    assert bytes_of(mixed.steps[0].tape, Part.GRADIENTS) == bytes_of(full.steps[0].tape, Part.GRADIENTS)
    assert full.trainable_bytes == mixed.trainable_bytes == 4 * full.num_parameters
    half = traced("half_llama", tmp_path / "half")
    assert half.trainable_bytes == 2 * half.num_parameters == bytes_of(half.steps[0].tape, Part.GRADIENTS)


def test_a_loss_that_reads_a_value_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError) as caught:
        traced("reads_its_loss", tmp_path)
    assert f"{MODELS}, line {READS_IN_LINE}: reads the value of a tensor" in str(caught.value)
    assert "`perftune probe`" in str(caught.value)


def test_the_users_line_is_named_wherever_the_file_lies(tmp_path: Path) -> None:
    folder = tmp_path / "perftune" / "site-packages"
    folder.mkdir(parents=True)
    copy = Path(shutil.copy(MODELS, folder / "own_models.py"))
    asked = request("reads_its_loss")
    source = asked.workload.model_copy(update={"build": f"{copy}:reads_its_loss"})
    from perftune.tracing.trace import trace

    with pytest.raises(WorkloadError, match=f"{copy}, line {READS_IN_LINE}: "):
        trace(asked.model_copy(update={"workload": source}), tmp_path)


def test_torch_is_left_as_it_was(tmp_path: Path) -> None:
    engine = torch.autograd._engine_run_backward
    traced("llama", tmp_path)
    assert torch.autograd._engine_run_backward is engine
    x = torch.ones(3, requires_grad=True)
    torch.nn.functional.dropout(torch.nn.Linear(3, 1)(x), 0.1).sum().backward()
    assert x.grad is not None
    assert x.grad.device.type == "cpu"


def test_a_process_of_its_own_traces_and_leaves_nothing(tmp_path: Path) -> None:
    with ForkServerRunner(tmp_path / "run", preload=PRELOAD_TO_TRACE) as runner:
        asked = request("llama", tmp_path, micro_batches=(1, 2))
        found = runner.trace(asked, 3)
        with pytest.raises(WorkloadError, match=f"cannot be traced: {MODELS}, line {READS_IN_LINE}: reads the value"):
            runner.trace(request("reads_its_loss", tmp_path), 4)
    assert [step.micro_batch for step in found.steps] == [1, 2]
    assert [optimizer.optim for optimizer in found.optimizers] == ["adamw_torch"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    folder = tmp_path / "run" / "traces"
    assert {path.name for path in (folder / "0003").iterdir()} == {"request.json", "result.json", "log.txt"}
    assert "output" not in {path.name for path in (folder / "0004").iterdir()}
