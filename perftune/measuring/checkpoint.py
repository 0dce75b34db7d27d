"""A Trainer whose checkpoint found no room to the error that says how much it takes. Child side."""

from collections.abc import Iterator
from typing import Any

import torch

from perftune.disk import DiskFullError
from perftune.units import format_bytes


def checkpoint_bytes(trainer: Any) -> int:
    """What a checkpoint of the Trainer takes on disk: weights that are saved, and what the optimizer keeps."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(trainer))


def no_room(trainer: Any) -> DiskFullError:
    """The error of a full disk."""
    needed, folder = checkpoint_bytes(trainer), trainer.args.output_dir
    return DiskFullError(f"the disk is full: a checkpoint takes about {format_bytes(needed)} in {folder}", needed)


def _tensors(trainer: Any) -> Iterator[torch.Tensor]:
    has_adapters = hasattr(trainer.model, "peft_config")  # PEFT saves its adapters, and not what they adapt
    yield from (p for p in trainer.model.parameters() if p.requires_grad or not has_adapters)
    if not has_adapters:
        yield from trainer.model.buffers()
    for state in getattr(trainer.optimizer, "state", {}).values():
        yield from (value for value in state.values() if isinstance(value, torch.Tensor))
