"""Linear layers of bitsandbytes in eight bits (``Linear8bitLt``): its own autograd function, over shapes.

``autograd/_functions.py`` MatMul8bitLt runs as installed, so what it keeps for the backward pass, and until when, is
its own matter: the input as it came, on the context and not among the saved tensors, which is why it stays until the
graph goes and checkpointing does not free it. Its operators have CUDA kernels that fake tensors lack; here is what
those allocate (``backends/cuda/ops.py`` and ``backends/default/ops.py``, bitsandbytes 0.50).
"""

from collections.abc import Callable
from typing import Any

import torch

from perftune.tracing.recorder import Recorder

NUM_OUTLIER_COLUMNS = 7
"""Columns of an input that hold a value beyond the threshold and are multiplied in the input's dtype: a matter of
values, which a plan does not know. "LLM.int8()" (arXiv 2208.07339) found at most seven in models of up to 13 B
parameters."""
INT8_SCALE = 1 / 127
"""What one step of a quantised value stands for, in units of its row's largest."""
INT8, FP16, INT32, FP32 = 1, 2, 4, 4
"""Bytes."""


class EightBitForward:
    """``Linear8bitLt.forward`` on CUDA, or on the CPU."""

    def __init__(self, layer: Any, kernels: "CudaKernels") -> None:
        from bitsandbytes.autograd import _functions as bnb

        self._layer, self._kernels = layer, kernels
        self._function: Any = bnb.MatMul8bitLt if kernels.recorder.is_cuda else bnb.MatMul8bitFp

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The product, with the bias in the input's dtype."""
        layer = self._layer
        layer.state.is_training = layer.training
        self._kernels.autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        bias = None if layer.bias is None else layer.bias.to(x.dtype)
        result: torch.Tensor = self._function.apply(x, layer.weight, None, bias, layer.state)
        return result


class CudaKernels:
    """What runs on CUDA for the operators of eight bits."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.autocast: torch.dtype | None = None
        """In which products run; what torch says of it does not reach into a mode that is at work."""
        if recorder.is_cuda:
            recorder.kernels.update(self.by_operator())

    def by_operator(self) -> dict[str, Callable[..., Any]]:
        """For `Recorder.kernels`."""
        return {
            "bitsandbytes::int8_vectorwise_quant": self.vectorwise_quant,
            "bitsandbytes::int8_double_quant": self.double_quant,
            "bitsandbytes::int8_scaled_mm": self.scaled_mm,
            "bitsandbytes::int8_mixed_scaled_mm": self.mixed_scaled_mm,
        }

    def vectorwise_quant(self, a: Any, threshold: float = 0.0) -> tuple[Any, Any, Any]:
        """By rows; columns with outliers are looked for with operators of torch, and set to zero."""
        rows, columns = a.numel() // a.shape[-1], None
        self.recorder.note("int8_vectorwise_quant", a.dtype, 0, a.numel() * (a.element_size() + INT8) + rows * FP32)
        scales, quantized = a.new_empty(rows, dtype=torch.float32), a.new_empty(a.shape, dtype=torch.int8)
        if threshold > 0:
            outliers = a.abs() >= threshold
            outliers.any()
            outliers.any(dim=0)
            columns = a.new_empty(min(NUM_OUTLIER_COLUMNS, a.shape[-1]), dtype=torch.int64)
            quantized[:, columns] = 0
        return quantized, scales, columns

    def double_quant(self, a: Any, threshold: float = 0.0) -> tuple[Any, Any, Any, Any, Any]:
        """By rows in a kernel, by columns with operators of torch: for a weight that has a gradient."""
        by_row, row_scales, columns = self.vectorwise_quant(a, threshold)
        column_scales, outliers = _column_scales(a, threshold)
        if outliers is not None:
            a = a.masked_fill(outliers, 0.0)
        by_column = torch.round(a.mul(127.0) / column_scales.unsqueeze(0)).to(torch.int8)
        return by_row, by_column, row_scales, column_scales.flatten().float(), columns

    def scaled_mm(
        self, a: Any, b: Any, _rows: Any, _columns: Any, bias: Any = None, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """A product of integers into 32 bits, scaled into fp16, then cast to what is asked for."""
        rows, columns, terms = a.numel() // a.shape[-1], b.shape[0], a.shape[-1]
        num_bytes = (rows + columns) * terms * INT8 + rows * columns * INT32
        self.recorder.note("int8_linear_matmul", torch.int8, 2 * rows * columns * terms, num_bytes)
        product = a.new_empty((*a.shape[:-1], columns), dtype=torch.int32)
        self.recorder.note("int8_mm_dequant", torch.float16, 0, rows * columns * (INT32 + FP16))
        out: torch.Tensor = product.new_empty(product.shape, dtype=torch.float16)
        if bias is not None and bias.dtype != torch.float16:
            out.add_(bias)
        return out.to(dtype or torch.float16)

    def mixed_scaled_mm(
        self, a: Any, qa: Any, qb: Any, rows: Any, columns: Any, outliers: Any = None, bias: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The product of integers; that of the outliers is added, which makes a second result."""
        factor = a[:, outliers].contiguous()
        weights = (qb[:, outliers].contiguous() * columns.view(-1, 1) * INT8_SCALE).to(a.dtype).t()
        out = self.scaled_mm(qa, qb, rows, columns, bias, a.dtype)
        added = [tensor.to(self.autocast or tensor.dtype) for tensor in (out, factor, weights)]
        return torch.addmm(*added), factor


def _column_scales(a: torch.Tensor, threshold: float) -> tuple[torch.Tensor, torch.Tensor | None]:
    magnitudes, outliers = a.abs().view(-1, a.shape[-1]), None
    if threshold > 0:
        outliers = magnitudes >= threshold
        magnitudes.masked_fill_(outliers, 0.0)
    return magnitudes.amax(dim=0).float(), outliers
