"""This CPU to what it computes in each precision: a linear layer, forward and backward. Child side."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

SIZE = 512
"""Rows, inputs and outputs: about what a micro-batch of a small model multiplies."""
FLOPS = 6 * SIZE**3
"""Three products of the same size: forward, and two backward."""
SECONDS = 0.15
"""Each precision is looked at for so long, after a first pass."""
DTYPES = {"fp32": None, "bf16": torch.bfloat16}


def flops_per_second(clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """By precision. The fastest pass counts: others were disturbed."""
    return {name: FLOPS / _fastest(dtype, clock) for name, dtype in DTYPES.items()}


def _fastest(dtype: torch.dtype | None, clock: Callable[[], float]) -> float:
    layer = torch.nn.Linear(SIZE, SIZE)
    inputs = torch.randn(SIZE, SIZE, requires_grad=True)
    _pass(layer, inputs, dtype)
    deadline = clock() + SECONDS
    seconds: list[float] = []
    while not seconds or clock() < deadline:
        begun = clock()
        _pass(layer, inputs, dtype)
        seconds.append(clock() - begun)
    return min(seconds)


def _pass(layer: torch.nn.Module, inputs: torch.Tensor, dtype: torch.dtype | None) -> None:
    cast: AbstractContextManager[object] = nullcontext() if dtype is None else torch.autocast("cpu", dtype)
    with cast:
        outputs = layer(inputs)
    outputs.backward(torch.ones_like(outputs))
