"""Functions as they behave on CUDA, on fake CPU tensors: autocast's fp32 list, dropout's mask, fused attention.

What differs between the devices is what a GPU would allocate: CUDA's autocast runs more functions in fp32
(aten/src/ATen/autocast_mode.h, AT_FORALL_FP32 and AT_FORALL_FP32_SET_OPT_DTYPE), its dropout keeps one byte an element,
its softmax reads half precision and writes fp32 without a copy, and its attention kernels keep a row of sums.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own name for it)
from torch.overrides import TorchFunctionMode

from perftune.tracing.attention import fused_attention
from perftune.tracing.recorder import Recorder

_T = torch.Tensor
FP32 = {
    F.layer_norm, torch.layer_norm, F.rms_norm, torch.rms_norm, F.group_norm, torch.group_norm, torch.pow, _T.pow,
    _T.__pow__, torch.rsqrt, _T.rsqrt, torch.exp, _T.exp, torch.expm1, _T.expm1, torch.log, _T.log, torch.log1p,
    _T.log1p, torch.log2, _T.log2, torch.log10, _T.log10, torch.reciprocal, _T.reciprocal, torch.sinh, torch.cosh,
    torch.tan, torch.acos, torch.asin, torch.erfinv, F.nll_loss, F.kl_div, F.mse_loss, F.l1_loss, F.smooth_l1_loss,
    F.huber_loss, F.triplet_margin_loss, F.binary_cross_entropy_with_logits, F.cosine_embedding_loss,
    F.cosine_similarity, F.softplus, torch.cdist, torch.logsumexp, _T.logsumexp, torch.renorm,
}  # fmt: skip
FP32_RESULT = {
    torch.sum, _T.sum, torch.cumsum, _T.cumsum, torch.cumprod, _T.cumprod, torch.prod, _T.prod, torch.norm, _T.norm,
    torch.linalg.vector_norm,
}  # fmt: skip
"""Functions whose result is fp32 under autocast, where no dtype is asked for."""
SOFTMAX = {F.softmax, torch.softmax, _T.softmax}
NLL = ("weight", "size_average", "ignore_index", "reduce", "reduction")
"""Parameters that cross_entropy hands on to nll_loss, in order."""
LOG_SOFTMAX = {F.log_softmax, torch.log_softmax, _T.log_softmax}
HALF = (torch.float16, torch.bfloat16)


class CpuSemantics(TorchFunctionMode):
    """Functions as they are; tells the recorder where each backward begins."""

    def __init__(self, recorder: Recorder, *, has_flash_attention: bool) -> None:
        super().__init__()
        self._recorder, self._has_flash = recorder, has_flash_attention
        self._num_backward, self._depth = 0, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One function."""
        return func(*args, **(kwargs or {}))

    @contextmanager
    def in_backward(self) -> Iterator[None]:
        """Stay entered in backward passes, where checkpointing recomputes.

        A mode is left while it handles a function, and backward is one.
        """
        engine = torch.autograd._engine_run_backward  # type: ignore[attr-defined]  # noqa: SLF001 (all ways lead there)

        def under_this_mode(*args: Any, **kwargs: Any) -> Any:
            if not self._depth:
                self._recorder.mark(f"backward_{self._num_backward}")
                self._num_backward += 1
            self._depth += 1
            try:
                with self:
                    return engine(*args, **kwargs)
            finally:
                self._depth -= 1

        with mock.patch.object(torch.autograd, "_engine_run_backward", under_this_mode):
            yield


class CudaSemantics(CpuSemantics):
    """While it is entered, functions act as on CUDA."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One function."""
        kwargs = dict(kwargs or {})
        if func is F.scaled_dot_product_attention:
            return fused_attention(self._recorder, self._has_flash, *args, **kwargs)
        if func is F.dropout:
            return _dropout(*args, **kwargs)
        if func in SOFTMAX or func in LOG_SOFTMAX:
            return _softmax(func, args, kwargs)
        if torch.is_autocast_enabled("cpu"):
            if func is F.cross_entropy:
                return _cross_entropy(*args, **kwargs)
            if func in FP32:
                args, kwargs = _as_fp32(args), {name: _as_fp32(value) for name, value in kwargs.items()}
            elif func in FP32_RESULT and _is_half(_first(args, kwargs)) and kwargs.get("dtype") is None:
                kwargs["dtype"] = torch.float32
        return func(*args, **kwargs)


def _first(args: Any, kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs.get("input")


def _is_half(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype in HALF


def _as_fp32(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_as_fp32(item) for item in value)
    return value.float() if _is_half(value) else value


def _dropout(x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:  # noqa: ARG001 (torch's)
    if not training or p == 0:
        return x
    result: torch.Tensor = torch.ops.aten.native_dropout(x, p, True)[0]
    return result


def _cross_entropy(input: torch.Tensor, target: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:  # noqa: A002 (torch's)
    """No function of the fp32 list itself: its log_softmax is, and reads half precision."""
    if not _is_half(input) or target.is_floating_point() or kwargs.get("label_smoothing") or len(args) > len(NLL):
        return F.cross_entropy(_as_fp32(input), _as_fp32(target), *args, **kwargs)
    values = dict(zip(NLL, args, strict=False)) | kwargs
    values.pop("label_smoothing", None)
    return F.nll_loss(HalfToFloat.apply(input, True), target, **values)  # type: ignore[no-untyped-call]


def _softmax(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    x = _first(args, kwargs)
    asked = kwargs.get("dtype")
    wants_fp32 = asked is torch.float32 or (asked is None and torch.is_autocast_enabled("cpu"))
    if not _is_half(x) or not wants_fp32:
        return func(*args, **kwargs)
    return HalfToFloat.apply(x, func in LOG_SOFTMAX)  # type: ignore[no-untyped-call]


class HalfToFloat(torch.autograd.Function):
    """CUDA's softmax of half precision into fp32, without an fp32 copy of its input or of its gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, is_log: bool) -> torch.Tensor:
        """The result, which backward needs."""
        result = x.new_empty(x.shape, dtype=torch.float32)
        torch.ops.aten.copy_(result, x)
        ctx.save_for_backward(result)
        ctx.dtype, ctx.is_log = x.dtype, is_log
        return result

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        """In the dtype of the input; softmax multiplies gradient and output first, log_softmax does not."""
        (result,) = ctx.saved_tensors
        grad = result.new_empty(result.shape, dtype=ctx.dtype)
        if not ctx.is_log:
            result.new_empty(result.shape)
        torch.ops.aten.copy_(grad, grads[0])
        return grad, None
