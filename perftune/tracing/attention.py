"""scaled_dot_product_attention to what its CUDA kernels allocate and do, flash or memory-efficient.

Shapes are those of ``aten/src/ATen/native/transformers/cuda/flash_attn/flash_api.cpp`` (``mha_fwd``, ``mha_bwd``) and
``attention.cu``/``attention_backward.cu`` (``_efficient_attention_forward`` and ``_backward``), torch 2.x. Operations:
4·B·H·Lq·Lk·D forward, 2.5 times that backward, half of each where the mask is causal (flash-attention's own count).
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own name for it)

from perftune.tracing.recorder import Recorder

HALF = (torch.float16, torch.bfloat16)
LARGEST_FLASH_HEAD = 256
BIAS_ALIGNMENT, BIAS_GRAD_ALIGNMENT = 8, 16
"""Elements (``mem_eff_alignment`` of attention.cpp; ``lastDim`` in ``_efficient_attention_backward``)."""


class Kernel(NamedTuple):
    """The kernel that runs."""

    recorder: Recorder
    is_flash: bool
    is_causal: bool


def fused_attention(
    recorder: Recorder,
    has_flash: bool,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001 (a seed is all that dropout keeps)
    is_causal: bool = False,
    scale: float | None = None,  # noqa: ARG001
    enable_gqa: bool = False,
) -> Any:
    """What the CUDA kernel that torch would choose allocates."""
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    is_flash = has_flash and attn_mask is None and query.dtype in HALF and query.shape[-1] <= LARGEST_FLASH_HEAD
    if enable_gqa and not is_flash and key.shape[1] != query.shape[1]:
        times = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(times, dim=1), value.repeat_interleave(times, dim=1)
    bias = None if attn_mask is None else _bias(attn_mask, query, key)
    kernel = Kernel(recorder, is_flash, is_causal)
    return FusedAttention.apply(query, key, value, bias, kernel)  # type: ignore[no-untyped-call]


def _bias(mask: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """The mask as the memory-efficient kernel reads it: added numbers, rows padded to a multiple of eight.

    ``convert_boolean_attn_mask`` and ``preprocess_mask`` of ``aten/src/ATen/native/transformers/attention.cpp``. It is
    kept for backward, by each layer its own.
    """
    if mask.dtype is torch.bool:
        mask = torch.where(mask, query.new_zeros(()), query.new_full((), -torch.inf))
    elif mask.dtype is not query.dtype:
        mask = mask.to(query.dtype)
    num_keys = key.shape[2]
    if num_keys % BIAS_ALIGNMENT and mask.shape[-1] == num_keys:
        mask = F.pad(mask, (0, _rounded(num_keys, BIAS_ALIGNMENT) - num_keys))[..., :num_keys]
    return mask.expand(query.shape[0], query.shape[1], query.shape[2], num_keys)


def _rounded(number: int, to: int) -> int:
    return -(-number // to) * to


def _work(kernel: Kernel, query: torch.Tensor, key: torch.Tensor, times: float) -> None:
    batch, heads, length, size = query.shape
    flops = 4.0 * batch * heads * length * key.shape[2] * size * times
    num_bytes = (2 * query.numel() + 2 * key.numel()) * query.element_size() * (1 if times == 1 else 2)
    name = "flash" if kernel.is_flash else "efficient"
    kernel.recorder.note(f"{name}_attention", query.dtype, flops / 2 if kernel.is_causal else flops, num_bytes)


class FusedAttention(torch.autograd.Function):
    """Shapes of the fused kernels: the output and one sum a row are kept."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: Any, kernel: Kernel
    ) -> torch.Tensor:
        """Output in the layout of the kernels: batch, length, heads, size."""
        batch, heads, length, _ = query.shape
        _work(kernel, query, key, 1.0)
        out = query.new_empty((batch, length, heads, value.shape[-1])).transpose(1, 2)
        rows = length if kernel.is_flash else _rounded(length, 32)
        sums = query.new_empty((batch, heads, rows), dtype=torch.float32)
        ctx.save_for_backward(query, key, value, bias, out, sums)
        ctx.kernel = kernel
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Any, None]:
        """Gradients, beside the fp32 accumulators of the kernel."""
        query, key, value, _, _, _ = ctx.saved_tensors
        kernel, grad = ctx.kernel, grads[0]
        batch, heads, length, size = query.shape
        contiguous = grad if grad.transpose(1, 2).is_contiguous() or grad.is_contiguous() else grad.contiguous()
        _work(kernel, query, key, 2.5)
        grad_query = _like(query)
        if kernel.is_flash:
            rows = _rounded(length, 128)
            query.new_empty((batch, heads, rows), dtype=torch.float32)
            accumulated = query.new_empty((batch, rows, heads, _rounded(size, 32)), dtype=torch.float32)
        else:
            accumulated = query.new_empty((batch, heads, length), dtype=torch.float32)
        if key.shape[1] != heads:
            spread = [_like(tensor, heads) for tensor in (key, value)]
            grad_key, grad_value = _like(key), _like(value)
            del spread
        else:
            grad_key, grad_value = _like(key), _like(value)
        grad_bias = None
        if ctx.needs_input_grad[3]:
            width = _rounded(key.shape[2], BIAS_GRAD_ALIGNMENT)
            grad_bias = query.new_empty((batch, heads, length, width))[..., : key.shape[2]]
        del accumulated, contiguous
        return grad_query, grad_key, grad_value, grad_bias, None


def _like(tensor: torch.Tensor, heads: int | None = None) -> torch.Tensor:
    batch, own, length, size = tensor.shape
    return tensor.new_empty((batch, length, heads or own, size)).transpose(1, 2)
