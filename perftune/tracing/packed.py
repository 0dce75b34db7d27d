"""Layers that bitsandbytes keeps in four or eight bits to fake tensors of that size, unpacked where they are used.

Four bits (``bitsandbytes/nn/modules.py`` Linear4bit, ``functional.quantize_4bit``): half a byte a weight and one fp32
scale for 64 of them; with double quantisation one byte a scale and an fp32 for 256 of those. ``autograd/_functions.py``
MatMul4Bit unpacks the weight for each product, forward and backward, and keeps nothing in between. Eight bits
(Linear8bitLt): one byte a weight and an fp32 scale a row, unless the layer is to keep its weight as it is
(``has_fp16_weights``); what it does is in `eight_bit`.
"""

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from perftune.tracing.eight_bit import CudaKernels, EightBitForward
from perftune.tracing.recorder import Recorder

BLOCK, DOUBLE_BLOCK = 64, 256
FOUR, EIGHT = "Linear4bit", "Linear8bitLt"


def is_packed(module: torch.nn.Module) -> bool:
    """Whether bitsandbytes packs the weight of a layer."""
    return _is_a(module, FOUR) or _is_a(module, EIGHT)


def _is_a(module: torch.nn.Module, name: str) -> bool:
    return any(base.__name__ == name and base.__module__.startswith("bitsandbytes") for base in type(module).__mro__)


def pack(model: torch.nn.Module, mode: FakeTensorMode, recorder: Recorder) -> list[torch.Tensor]:
    """Put packed weights in place of those of the packed layers; the scales that come with them."""
    scales: list[torch.Tensor] = []
    kernels = CudaKernels(recorder)
    for module in model.modules():
        layer: Any = module
        if _is_a(module, FOUR):
            weight, its_scales = _four_bits(layer, mode)
            layer.forward = _Forward(layer, recorder)
        elif _is_a(module, EIGHT):
            layer.forward = EightBitForward(layer, kernels)
            if layer.state.has_fp16_weights:
                continue
            weight, its_scales = _eight_bits(layer, mode)
        else:
            continue
        layer._parameters["weight"] = torch.nn.Parameter(weight, requires_grad=False)  # noqa: SLF001
        scales += its_scales
    return scales


def _four_bits(layer: Any, mode: FakeTensorMode) -> tuple[torch.Tensor, list[torch.Tensor]]:
    num_weights = layer.out_features * layer.in_features
    num_blocks = -(-num_weights // BLOCK)
    is_double = getattr(layer._parameters["weight"], "compress_statistics", False)  # noqa: SLF001
    with mode:
        weight = torch.empty((num_weights // 2, 1), dtype=torch.uint8)
        if not is_double:
            return weight, [torch.empty(num_blocks)]
        return weight, [torch.empty(num_blocks, dtype=torch.uint8), torch.empty(-(-num_blocks // DOUBLE_BLOCK))]


def _eight_bits(layer: Any, mode: FakeTensorMode) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Weight and scales lie in the layer's state too, as after its first forward pass."""
    with mode:
        weight = torch.empty((layer.out_features, layer.in_features), dtype=torch.int8)
        scales = torch.empty(layer.out_features)
    layer.state.CB, layer.state.SCB = weight, scales
    return weight, [scales]


class _Forward:
    """What a layer in four bits does with its input."""

    def __init__(self, layer: Any, recorder: Recorder) -> None:
        self._layer, self._recorder = layer, recorder

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        layer, dtype = self._layer, x.dtype
        compute = getattr(layer, "compute_dtype", None)
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
