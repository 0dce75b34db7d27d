"""A collated batch to what it holds: samples, tokens, elements. Child side.

A batch is what a collator returns: tensors by name, in tuples, lists, named tuples, data classes or objects of the
user's, nested as they like.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

IDS, MASK, POSITIONS = "input_ids", "attention_mask", "position_ids"


class BatchSize(NamedTuple):
    """What one micro-batch holds. Tensors are summed lazily: reading them would wait for the GPU."""

    num_samples: int
    num_padded_tokens: int
    token_masks: tuple[torch.Tensor, ...] = ()
    """Non-zero where there is a token."""
    num_unmasked_tokens: int = 0
    """Where every position is one."""

    @property
    def num_tokens(self) -> int:
        """Tokens without padding; waits for the device."""
        return self.num_unmasked_tokens + sum(int(torch.count_nonzero(mask)) for mask in self.token_masks)


def batch_size(batch: Any) -> BatchSize:
    """Count a micro-batch.

    Samples are the first dimension of the first tensor, except where sequences are packed into one row
    (``position_ids`` that start anew): there each start is a sample. Tokens are those of every ``input_ids`` that the
    attention mask beside it keeps.
    """
    sequences = [named for named in _groups(batch) if IDS in named]
    if not sequences:
        first = next(iter(tensors(batch)), None)
        return BatchSize(first.shape[0] if first is not None and first.dim() else 0, 0)
    masks = [named[MASK] for named in sequences if _has_mask(named)]
    unmasked = [named[IDS].numel() for named in sequences if not _has_mask(named)]
    num_padded_tokens = sum(named[IDS].numel() for named in sequences)
    return BatchSize(_num_samples(sequences[0]), num_padded_tokens, tuple(masks), sum(unmasked))


def num_elements(batch: Any) -> int:
    """Elements of all tensors of a batch: the size by which the worst sample is found."""
    return sum(tensor.numel() for tensor in tensors(batch))


def tensors(batch: Any) -> Iterator[torch.Tensor]:
    """All tensors of a batch, in order."""
    for group in _groups(batch):
        yield from group.values()


def _has_mask(named: Mapping[str, torch.Tensor]) -> bool:
    return MASK in named and named[MASK].shape == named[IDS].shape


def _num_samples(named: Mapping[str, torch.Tensor]) -> int:
    rows = named[IDS].shape[0]
    if rows == 1 and MASK not in named and POSITIONS in named:
        return int((named[POSITIONS] == 0).sum())
    return rows


def _groups(batch: Any, seen: set[int] | None = None) -> Iterator[dict[str, torch.Tensor]]:
    """The tensors that lie side by side, by name, and then those of what lies beside them."""
    if isinstance(batch, torch.Tensor):
        yield {"": batch}
        return
    seen = set() if seen is None else seen
    if id(batch) in seen:  # objects that hold each other would never end
        return
    seen.add(id(batch))
    fields = _fields(batch)
    named = {name: value for name, value in fields.items() if isinstance(value, torch.Tensor)}
    if named:
        yield named
    for value in fields.values():
        if not isinstance(value, torch.Tensor):
            yield from _groups(value, seen)


def _fields(batch: Any) -> dict[str, Any]:
    """What a batch is made of; nothing of numbers and texts."""
    if isinstance(batch, Mapping):
        return {str(name): value for name, value in batch.items()}
    if isinstance(batch, Sequence) and not isinstance(batch, str | bytes):
        names = getattr(batch, "_fields", None) or map(str, range(len(batch)))  # those of a named tuple
        return dict(zip(names, batch, strict=True))
    return dict(getattr(batch, "__dict__", {}))
