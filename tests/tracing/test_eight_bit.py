"""Layers in eight bits: what bitsandbytes keeps on the CPU with real values, and what its CUDA kernels take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import LlamaForCausalLM

from perftune.plan.program import Part
from perftune.records.trace import Tape
from perftune.tracing.eight_bit import NUM_OUTLIER_COLUMNS
from perftune.tracing.packed import pack
from perftune.tracing.recorder import Recorder
from perftune.tracing.weightless import materialise
from tests.tracing.models import HIDDEN, LAYERS, LENGTH, LLAMA, VOCAB
from tests.tracing.tracing import IGNORED, alive_after, bytes_of, operators, traced

pytestmark = pytest.mark.filterwarnings(*IGNORED)
bitsandbytes = pytest.importorskip("bitsandbytes")
ROWS, TERMS, COLUMNS = 24, 128, 256
THRESHOLD = 6.0
"""What transformers gives to layers in eight bits."""
LINEAR = LAYERS * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * 64)
SCALES = LAYERS * (4 * HIDDEN + 2 * 64 + HIDDEN)


def layer(threshold: float, has_fp16_weights: bool = False, bias: bool = False) -> Any:
    return bitsandbytes.nn.Linear8bitLt(
        TERMS, COLUMNS, bias=bias, threshold=threshold, has_fp16_weights=has_fp16_weights
    )


def on_shapes(layer: Any, dtype: torch.dtype, *, autocast: bool = False) -> tuple[torch.Tensor, Tape]:
    """Forward and backward of a sum; ``forward_ends`` is when the layer's result is there."""
    recorder, mode = Recorder(), FakeTensorMode(allow_non_fake_inputs=True)
    model = torch.nn.Sequential(layer)
    scales = pack(model, mode, recorder)
    for tensor in (*materialise(model, mode)[0], *scales):
        recorder.hold(tensor)
    with mode:
        x = torch.empty(2, ROWS // 2, TERMS, dtype=dtype, requires_grad=True)
        grad = torch.empty(2, ROWS // 2, COLUMNS, dtype=torch.bfloat16 if autocast else dtype)
    recorder.hold(x)
    recorder.hold(grad)
    with recorder:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            out = model(x)
        recorder.mark("forward_ends")
        out.backward(grad)
        recorder.mark("backward_ends")
    return out, recorder.cut()


def with_values(layer: Any, dtype: torch.dtype, *, autocast: bool = False) -> torch.Tensor:
    """The function that runs on CUDA, on real values, of which seven columns lie beyond the threshold."""
    weight = layer.to("cpu").weight
    layer.init_8bit_state()
    x = torch.rand(2, ROWS // 2, TERMS)
    x[..., :NUM_OUTLIER_COLUMNS] += THRESHOLD
    x = x.to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out: torch.Tensor = bitsandbytes.autograd._functions.MatMul8bitLt.apply(
            x, weight, None, layer.bias, layer.state
        )
    out.float().sum().backward()
    return out


def kept(out: Any) -> list[Any]:
    """Shapes and dtypes of what the function has put aside for its backward pass."""
    found = (*out.grad_fn.tensors, *out.grad_fn.tensor_states)
    return [None if tensor is None else (tuple(tensor.shape), tensor.dtype) for tensor in found]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("threshold", [0.0, THRESHOLD])
def test_what_is_kept_is_what_bitsandbytes_keeps(dtype: torch.dtype, threshold: float) -> None:
    real = with_values(layer(threshold), dtype)
    fake, _ = on_shapes(layer(threshold), dtype)
    assert kept(fake) == kept(real)
    assert (fake.shape, fake.dtype) == (real.shape, real.dtype)
    assert ((ROWS, TERMS), dtype) in kept(fake)


def test_a_weight_that_trains_keeps_the_input_by_columns_too() -> None:
    """``int8_double_quant``, which has no version for the CPU: a byte a value and an fp32 scale a column."""
    fake, tape = on_shapes(layer(THRESHOLD, has_fp16_weights=True).half(), torch.float16)
    by_column, outliers, x, column_scales, columns = kept(fake)
    assert (by_column, column_scales) == (((ROWS, TERMS), torch.int8), ((TERMS,), torch.float32))
    assert (x, outliers) == (((ROWS, TERMS), torch.float16), ((ROWS, NUM_OUTLIER_COLUMNS), torch.float16))
    assert columns == ((NUM_OUTLIER_COLUMNS,), torch.int64)
    left = [tape.sizes[number] for number in alive_after(tape.events, tape.marks["backward_ends"])]
    assert {TERMS * COLUMNS, 2 * TERMS * COLUMNS} <= set(left), "quantised weight and gradient of the weight"


@pytest.mark.parametrize("threshold", [0.0, THRESHOLD])
def test_outliers_are_multiplied_as_autocast_says(threshold: float) -> None:
    real = with_values(layer(threshold), torch.float32, autocast=True)
    fake, _ = on_shapes(layer(threshold), torch.float32, autocast=True)
    assert (fake.dtype, kept(fake)) == (real.dtype, kept(real))
    assert fake.dtype is (torch.bfloat16 if threshold else torch.float32)


@pytest.mark.parametrize(("dtype", "num_bytes"), [(torch.float16, 2), (torch.bfloat16, 2), (torch.float32, 4)])
def test_forward_without_outliers_allocates_as_the_cuda_kernels(dtype: torch.dtype, num_bytes: int) -> None:
    """``int8_vectorwise_quant``: a scale a row and a byte a value, of fp16, into which others are cast before.

    ``int8_linear_matmul``: 32 bits a result; ``int8_mm_dequant``: fp16, which others are cast from.
    """
    _, tape = on_shapes(layer(0.0), dtype)
    made = [tape.sizes[event - 1] for event in tape.events[: tape.marks["forward_ends"]] if event > 0]
    cast = dtype != torch.float16
    quantize = [2 * ROWS * TERMS] * cast + [4 * ROWS, ROWS * TERMS]
    multiply = [4 * ROWS * COLUMNS, 2 * ROWS * COLUMNS] + [num_bytes * ROWS * COLUMNS] * cast
    assert made == quantize + multiply
    assert most(tape) == ROWS * (4 + TERMS) + sum(multiply), "the cast input is gone before the product"


def most(tape: Tape) -> float:
    """Bytes of the forward pass at their most."""
    places = range(1, tape.marks["forward_ends"] + 1)
    return max(sum(tape.sizes[number] for number in alive_after(tape.events, place)) for place in places)


def test_outliers_are_looked_for_and_added_in_a_second_result() -> None:
    """``int8_vectorwise_quant`` compares magnitudes; ``int8_mixed_scaled_mm`` adds to the product with ``addmm``."""
    _, tape = on_shapes(layer(THRESHOLD), torch.float16)
    sizes = [tape.sizes[event - 1] for event in tape.events[: tape.marks["forward_ends"]] if event > 0]
    for size in (2 * ROWS * TERMS, 2 * ROWS * NUM_OUTLIER_COLUMNS, 8 * NUM_OUTLIER_COLUMNS):
        assert sizes.count(size) == 1
    assert sizes.count(ROWS * TERMS) == 2, "quantised input and mask of outliers"
    assert sizes.count(2 * ROWS * COLUMNS) == 2, "product and sum"
    left = [tape.sizes[number] for number in alive_after(tape.events, tape.marks["forward_ends"])]
    assert sorted(left) == sorted([8 * NUM_OUTLIER_COLUMNS, 2 * ROWS * NUM_OUTLIER_COLUMNS, 2 * ROWS * COLUMNS]), (
        "columns, values, result"
    )


@pytest.mark.parametrize(("dtype", "num_bytes"), [(torch.bfloat16, 2), (torch.float32, 4)])
def test_backward_unpacks_the_weight_for_its_product(dtype: torch.dtype, num_bytes: int) -> None:
    _, tape = on_shapes(layer(0.0), dtype)
    first = tape.marks["forward_ends"]
    made = [event - 1 for event in tape.events[first : tape.marks["backward_ends"]] if event > 0]
    assert [tape.sizes[number] for number in made] == [
        num_bytes * TERMS * COLUMNS,
        4 * COLUMNS,
        num_bytes * ROWS * TERMS,
    ], "weight, its scales, gradient"
    assert alive_after(tape.events, tape.marks["backward_ends"]).isdisjoint(made[:2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_bias_takes_nothing_but_its_own_cast(dtype: torch.dtype) -> None:
    """Added in the kernel where it is fp16, in place where it is not."""
    with_bias, without = (on_shapes(layer(0.0, bias=bias).to(dtype), dtype)[1] for bias in (True, False))
    end = with_bias.marks["forward_ends"]
    assert end == without.marks["forward_ends"]
    assert with_bias.sizes[: without.op_marks["forward_ends"]] == without.sizes[: without.op_marks["forward_ends"]]
    added = operators(with_bias, "", "forward_ends").count("aten::add_.Tensor")
    assert added == (dtype != torch.float16)


def test_the_product_of_integers_is_counted_as_such() -> None:
    _, tape = on_shapes(layer(0.0), torch.float16)
    number = operators(tape).index("int8_linear_matmul")
    assert tape.ops.dtype[number] == "int8"
    assert tape.ops.flops[number] == 2 * ROWS * TERMS * COLUMNS
    assert tape.ops.num_bytes[number] == (ROWS + COLUMNS) * TERMS + 4 * ROWS * COLUMNS


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    LlamaForCausalLM(LLAMA).to(torch.bfloat16).save_pretrained(tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_adapters_train_on_layers_in_eight_bits(saved: Path) -> None:
    found = traced("eight_bits", saved / "trace")
    rest = 2 * VOCAB * HIDDEN + (2 * LAYERS + 1) * HIDDEN
    assert sum(found.parameter_bytes) == LINEAR + 2 * rest + found.trainable_bytes
    assert sum(found.buffer_bytes) >= 4 * SCALES
    tape = found.steps[0].tape
    assert bytes_of(tape, Part.GRADIENTS) == found.trainable_bytes
    assert operators(tape, "micro_0", "backward_0").count("int8_linear_matmul") == 7 * LAYERS
    assert "dequantize" not in operators(tape)


def test_checkpointing_leaves_the_inputs_of_packed_layers_where_they_are(saved: Path) -> None:
    """They hang on the function's context, which checkpointing does not look at."""
    tapes: dict[str, Tape] = {}
    for model in ("eight_bits", "packed"):
        arguments = {"gradient_checkpointing": True}
        tapes[model] = traced(model, saved / model, arguments=arguments).steps[0].tape
    held: Callable[[str], int] = lambda model: held_inputs(tapes[model])  # noqa: E731
    assert held("eight_bits") - held("packed") >= LAYERS


def held_inputs(tape: Tape) -> int:
    """Allocations as large as the input of a layer's last product, alive when backward begins."""
    size = 2 * 2 * LENGTH * 64
    return sum(tape.sizes[number] == size for number in alive_after(tape.events, tape.marks["backward_0"]))
