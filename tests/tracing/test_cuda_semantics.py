"""Functions allocate on fake tensors what they would on CUDA."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch._subclasses.fake_tensor import FakeTensorMode

from perftune.records.trace import Tape
from perftune.tracing.cuda_semantics import CpuSemantics, CudaSemantics
from perftune.tracing.recorder import Recorder

ROWS, COLUMNS = 8, 16
NUMBER = ROWS * COLUMNS
HALF = torch.bfloat16


def tape_of(
    function: Callable[[Any], Any],
    shape: tuple[int, ...] = (ROWS, COLUMNS),
    *,
    dtype: torch.dtype = HALF,
    autocast: bool = True,
    backward: bool = False,
    semantics: type[CpuSemantics] = CudaSemantics,
    has_flash_attention: bool = True,
) -> tuple[Tape, torch.Tensor]:
    """What a function of one fake tensor allocates, and its result."""
    mode, recorder = FakeTensorMode(allow_non_fake_inputs=True), Recorder()
    with mode:
        x = torch.empty(shape, dtype=dtype, requires_grad=True)
        grad = torch.empty(shape, dtype=torch.float32)
    for tensor in (x, grad):
        recorder.hold(tensor)
    as_on = semantics(recorder, has_flash_attention=has_flash_attention)
    with as_on.in_backward(), recorder, as_on, torch.autocast("cpu", dtype=HALF, enabled=autocast):
        out = function(x)
        recorder.mark("forward_ends")
        if backward:
            out.backward(None if out.dim() == 0 else grad.to(out.dtype))
    return recorder.cut(), out


def forward_sizes(tape: Tape) -> list[float]:
    return [tape.sizes[event - 1] for event in tape.events[: tape.marks["forward_ends"]] if event > 0]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.layer_norm(x, (COLUMNS,)),
        lambda x: F.rms_norm(x, (COLUMNS,)),
        lambda x: x**2,
        lambda x: x.exp(),
        torch.rsqrt,
        F.softplus,
        lambda x: torch.sum(input=x),
        lambda x: x.cumsum(0),
        lambda x: F.softmax(x, dim=-1),
        lambda x: torch.log_softmax(input=x, dim=-1),
    ],
)
def test_what_cuda_runs_in_fp32_under_autocast_gives_fp32(function: Callable[[Any], Any]) -> None:
    _, out = tape_of(function)
    assert out.dtype is torch.float32
    _, out = tape_of(function, autocast=False)
    assert out.dtype is HALF


def test_products_stay_half_under_autocast() -> None:
    tape, out = tape_of(lambda x: x @ x.t(), dtype=torch.float32)
    assert out.dtype is HALF
    assert tape.ops.dtype[tape.ops.flops.index(max(tape.ops.flops))] == "bf16"


def test_a_dropout_mask_is_one_byte_an_element() -> None:
    tape, _ = tape_of(lambda x: F.dropout(x, 0.1), autocast=False)
    assert sorted(forward_sizes(tape)) == [NUMBER, 2 * NUMBER]
    tape, _ = tape_of(lambda x: F.dropout(x, 0.1), autocast=False, semantics=CpuSemantics)
    assert NUMBER not in forward_sizes(tape)
    tape, _ = tape_of(lambda x: F.dropout(x, 0.1, training=False))
    assert tape.sizes == ()


@pytest.mark.parametrize("function", [F.softmax, F.log_softmax, torch.Tensor.softmax])
def test_half_softmax_into_fp32_copies_no_input(function: Callable[..., Any]) -> None:
    for options, autocast in (({}, True), ({"dtype": torch.float32}, False)):
        tape, out = tape_of(lambda x, options=options: function(x, dim=-1, **options), autocast=autocast)  # type: ignore[misc]
        assert out.dtype is torch.float32
        assert forward_sizes(tape) == [4 * NUMBER]
    tape, _ = tape_of(lambda x: function(x, dim=-1), backward=True)
    after = tape.sizes[1:]
    product = [] if "log" in function.__name__ else [4 * NUMBER]
    assert sorted(after) == sorted([2 * NUMBER, *product])


def test_cross_entropy_of_half_logits_copies_none_of_them() -> None:
    labels = torch.zeros(ROWS, dtype=torch.long)
    tape, out = tape_of(lambda x: F.cross_entropy(x, labels, ignore_index=3), backward=True)
    assert out.dtype is torch.float32
    assert sum(size == 4 * NUMBER for size in forward_sizes(tape)) == 1
    smoothed, _ = tape_of(lambda x: F.cross_entropy(x, labels, label_smoothing=0.1))
    assert max(forward_sizes(smoothed)) == 4 * NUMBER
    assert tape_of(lambda x: F.cross_entropy(x, labels), dtype=torch.float32)[1].dtype is torch.float32


def test_backward_begins_where_it_is_called() -> None:
    tape, _ = tape_of(lambda x: (x * 2).sum(), backward=True)
    of_the_loss = 1  # its own gradient is made before
    assert tape.marks["backward_0"] == tape.marks["forward_ends"] + of_the_loss
    assert tape.op_marks["backward_0"] == tape.op_marks["forward_ends"] + of_the_loss


B, H, L, D = 2, 4, 256, 32


def attend(x: torch.Tensor, **options: Any) -> torch.Tensor:
    return F.scaled_dot_product_attention(x, x, x, **options)


@pytest.mark.parametrize(("dtype", "has_flash", "kernel"), [
    (HALF, True, "flash"), (HALF, False, "efficient"), (torch.float32, True, "efficient"),
])  # fmt: skip
def test_fused_attention_never_has_a_row_for_each_pair(dtype: torch.dtype, has_flash: bool, kernel: str) -> None:
    options: dict[str, Any] = {"dtype": dtype, "autocast": False, "has_flash_attention": has_flash, "backward": True}
    tape, out = tape_of(lambda x: attend(x, is_causal=True), (B, H, L, D), **options)
    assert out.shape == (B, H, L, D)
    assert f"{kernel}_attention" in tape.ops.names
    assert forward_sizes(tape) == [B * H * L * D * dtype.itemsize, B * H * L * 4]
    assert max(tape.sizes) < B * H * L * L * dtype.itemsize
    flops = [flops for flops in tape.ops.flops if flops]
    assert flops == [2 * B * H * L * L * D, 5 * B * H * L * L * D]
    whole, _ = tape_of(attend, (B, H, L, D), **options)
    assert [flops for flops in whole.ops.flops if flops] == [2 * value for value in flops]


def test_a_boolean_mask_is_kept_as_numbers_by_each_layer() -> None:
    mask = torch.ones(B, 1, L, L, dtype=torch.bool)
    tape, _ = tape_of(lambda x: attend(x, attn_mask=mask), (B, H, L, D))
    assert B * L * L * 2 in forward_sizes(tape)
    assert "efficient_attention" in tape.ops.names
    odd = torch.ones(B, 1, L - 1, L - 1, dtype=torch.bool)
    tape, _ = tape_of(lambda x: attend(x, attn_mask=odd), (B, H, L - 1, D))
    assert B * (L - 1) * L * 2 in forward_sizes(tape)


def test_a_learned_bias_gets_its_gradient() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return attend(x, attn_mask=x @ x.transpose(-1, -2))

    tape, _ = tape_of(function, (B, H, L, D), dtype=torch.float32, autocast=False, backward=True)
    after = tape.sizes[len(forward_sizes(tape)) :]
    assert 4 * B * H * L * L in after


def test_grouped_heads_are_spread_where_the_kernel_cannot() -> None:
    def grouped(x: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, x[:, :2], x[:, :2], enable_gqa=True)

    flash, _ = tape_of(grouped, (B, H, L, D))
    efficient, _ = tape_of(grouped, (B, H, L, D), has_flash_attention=False)
    assert forward_sizes(efficient).count(B * H * L * D * 2) == forward_sizes(flash).count(B * H * L * D * 2) + 2
