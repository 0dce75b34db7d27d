"""Layers that bitsandbytes keeps in four or eight bits to fake tensors of that size, unpacked where they are used.

Four bits (``bitsandbytes/nn/modules.py`` Linear4bit, ``functional.quantize_4bit``): half a byte a weight and one fp32
scale for 64 of them; with double quantisation one byte a scale and an fp32 for 256 of those. ``autograd/_functions.py``
MatMul4Bit unpacks the weight for each product, forward and backward, and keeps nothing in between. Eight bits
(MatMul8bitLt): one byte a weight and a scale a row; the input is kept in eight bits too.
"""

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from perftune.trials.tracing.recorder import Recorder

BLOCK, DOUBLE_BLOCK = 64, 256
FOUR, EIGHT = "Linear4bit", "Linear8bitLt"


def is_packed(module: torch.nn.Module) -> bool:
    """Whether bitsandbytes packs the weight of a layer."""
    return any(
        base.__name__ in {FOUR, EIGHT} and base.__module__.startswith("bitsandbytes") for base in type(module).__mro__
    )


def pack(model: torch.nn.Module, mode: FakeTensorMode, recorder: Recorder) -> list[torch.Tensor]:
    """Put packed weights in place of those of the packed layers; the scales that come with them."""
    scales: list[torch.Tensor] = []
    for module in model.modules():
        if is_packed(module):
            layer: Any = module
            rows, columns = layer.out_features, layer.in_features
            four = any(base.__name__ == FOUR for base in type(module).__mro__)
            with mode:
                size = (rows * columns // 2, 1) if four else (rows, columns)
                weight = torch.empty(size, dtype=torch.uint8 if four else torch.int8)
                scales += _scales(layer, four)
            layer._parameters["weight"] = torch.nn.Parameter(weight, requires_grad=False)  # noqa: SLF001
            layer.forward = _Forward(layer, recorder, four)
    return scales


def _scales(layer: Any, four: bool) -> list[torch.Tensor]:
    if not four:
        return [torch.empty(layer.out_features)]
    num_blocks = -(-layer.out_features * layer.in_features // BLOCK)
    old = layer._parameters["weight"]  # noqa: SLF001
    if getattr(old, "compress_statistics", False):
        return [torch.empty(num_blocks, dtype=torch.uint8), torch.empty(-(-num_blocks // DOUBLE_BLOCK))]
    return [torch.empty(num_blocks)]


class _Forward:
    """What a packed layer does with its input."""

    def __init__(self, layer: Any, recorder: Recorder, four: bool) -> None:
        self._layer, self._recorder, self._four = layer, recorder, four

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        layer, dtype = self._layer, x.dtype
        compute = getattr(layer, "compute_dtype", None) if self._four else torch.float16
        if torch.is_autocast_enabled("cpu"):
            compute = torch.get_autocast_dtype("cpu")
        compute = compute or dtype
        bias = None if layer.bias is None else layer.bias.to(compute)
        shape = layer.out_features, layer.in_features
        with torch.autocast("cpu", enabled=False):
            out = PackedProduct.apply(x.to(compute), layer.weight, bias, shape, self._recorder)  # type: ignore[no-untyped-call]
        result: torch.Tensor = out.to(dtype)
        return result


class PackedProduct(torch.autograd.Function):
    """Product with a weight that is unpacked for it."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, packed: torch.Tensor, bias: Any, shape: tuple[int, int], recorder: Recorder
    ) -> torch.Tensor:
        """The weight is gone after it."""
        ctx.packed, ctx.shape, ctx.recorder, ctx.has_bias = packed, shape, recorder, bias is not None
        return torch.nn.functional.linear(x, _unpacked(packed, shape, x.dtype, recorder), bias)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        """The weight is unpacked again; it has no gradient."""
        weight = _unpacked(ctx.packed, ctx.shape, grads[0].dtype, ctx.recorder)
        return torch.matmul(grads[0], weight), None, None, None, None


def _unpacked(packed: torch.Tensor, shape: tuple[int, int], dtype: torch.dtype, recorder: Recorder) -> torch.Tensor:
    weight = packed.new_empty(shape, dtype=dtype)
    num_bytes = packed.numel() * packed.element_size() + weight.numel() * weight.element_size()
    recorder.note("dequantize", dtype, 0, num_bytes)
    return weight
