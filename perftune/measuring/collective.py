"""Figures of one process to those of all processes of a data-parallel trial. Child side."""

import os
from collections.abc import Callable, Sequence

import torch

SumOverProcesses = Callable[[Sequence[float]], Sequence[float]]
"""Values of this process -> their sums over all, in the same order."""


def own_rank() -> int:
    """Of this process; 0 where there is one."""
    return int(os.environ.get("RANK", "0"))


def alone(values: Sequence[float]) -> Sequence[float]:
    """The sums where there is one process."""
    return values


def sum_over_processes(device: torch.device) -> SumOverProcesses:
    """A sum that all processes take together, on tensors of this device; every one has to call it."""

    def summed(values: Sequence[float]) -> Sequence[float]:
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(tensor)
        found: list[float] = tensor.tolist()
        return found

    return summed
