"""A micro-batch to a number that is that of its samples, however they are padded, ordered or split. Child side."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from perftune.workloads.batch_size import MADE_FROM_LABELS

IGNORED = -100
"""The label that torch's losses leave out; collators pad labels with it."""
MASK = "attention_mask"


def samples_digest(batch: Any) -> int | None:
    """The sum of the digests of a micro-batch's samples, so that those of micro-batches add up to that of the step.

    Samples are the first dimension. Where there is an attention mask beside, what it leaves out is padding.

    Returns:
        None where there are no tensors, or where they have not one sample a row.
    """
    found = {name: tensor.detach().cpu() for name, tensor in _tensors(batch) if MADE_FROM_LABELS not in name}
    lengths = {len(tensor) if tensor.dim() else 0 for tensor in found.values()}
    if len(lengths) != 1 or 0 in lengths:
        return None
    columns = [(name, found[name], _mask(name, found)) for name in sorted(found)]
    return sum(_digest(columns, row) for row in range(lengths.pop()))


def _tensors(batch: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a nested batch with its path."""
    if isinstance(batch, torch.Tensor):
        yield name, batch
    elif isinstance(batch, Mapping):
        for key, value in batch.items():
            yield from _tensors(value, f"{name}.{key}")
    elif isinstance(batch, Sequence) and not isinstance(batch, str):
        for number, value in enumerate(batch):
            yield from _tensors(value, f"{name}.{number}")


def _mask(name: str, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """The attention mask beside a tensor: ``anchor_attention_mask`` is that of ``anchor_input_ids``."""
    beside = [mask for mask in tensors if mask.endswith(MASK) and name.startswith(mask.removesuffix(MASK))]
    return tensors[max(beside, key=len)] if beside else None


def _digest(columns: Sequence[tuple[str, torch.Tensor, torch.Tensor | None]], row: int) -> int:
    """32 bits of one sample: sums of them stay exact where processes add them as 64-bit floats."""
    found = hashlib.blake2b(digest_size=4)
    for name, column, mask in columns:
        values = column[row]
        if mask is not None and values.shape[:1] == mask[row].shape:
            values = values[mask[row].bool()]
        if values.dim() == 1 and not values.is_floating_point():
            values = values[values != IGNORED]
        found.update(name.encode())
        found.update(values.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return int.from_bytes(found.digest(), "little")
