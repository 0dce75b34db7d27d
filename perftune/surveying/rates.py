"""This CPU to what it computes in each precision: a linear layer, forward and backward. Child side."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

SIZE = 512
"""Rows, inputs and outputs: about what a micro-batch of a small model multiplies."""
FLOPS = 6 * SIZE**3
"""Three products of the same size: forward, and two backward."""
SECONDS = 0.3
"""Each precision is looked at for so long, after a first pass."""
DTYPES = {"fp32": None, "bf16": torch.bfloat16}


def flops_per_second(clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """By precision, of all threads together.

    One thread is measured, and its fastest pass counts: on a busy machine two threads wait for each other, which was
    seen to make a pass twenty times slower and all precisions alike, while a pass of one is over before it is
    disturbed.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {name: num_threads * FLOPS / _fastest(dtype, clock) for name, dtype in DTYPES.items()}
    finally:
        torch.set_num_threads(num_threads)


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
