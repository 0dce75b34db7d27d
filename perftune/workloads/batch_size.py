"""A collated batch to what it holds: samples, tokens, elements. Child side.

A batch is what a collator returns: tensors by name, in tuples, lists, named tuples, data classes or objects of the
user's, nested as they like.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

IDS, MASK, POSITIONS = "input_ids", "attention_mask", "position_ids"
OTHER_IDS, OTHER_MASK = "_ids", "_mask"
"""As TRL names what it has generated: ``completion_ids`` beside ``completion_mask``."""
MADE_FROM_LABELS = "decoder_"
"""Collators of sequence-to-sequence models make these inputs from the labels."""


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
    (``position_ids`` that start anew): there each start is a sample. Tokens are those of every ``input_ids``, also with
    a name before it such as ``anchor_input_ids``, that the attention mask beside it keeps.
    """
    groups = list(_groups(batch))
    sequences = [(named[ids], named.get(mask)) for named in groups for ids, mask in _sequences(named)]
    if not sequences:
        first = next((tensor for named in groups for tensor in named.values()), None)
        return BatchSize(first.shape[0] if first is not None and first.dim() else 0, 0)
    masks = [mask for ids, mask in sequences if mask is not None and mask.shape == ids.shape]
    unmasked = [ids.numel() for ids, mask in sequences if mask is None or mask.shape != ids.shape]
    num_padded_tokens = sum(ids.numel() for ids, _ in sequences)
    return BatchSize(_num_samples(groups, sequences[0][0]), num_padded_tokens, tuple(masks), sum(unmasked))


def _sequences(named: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, str]]:
    """Names of the tensors of tokens that lie side by side, with that of the mask which each would have."""
    for name in named:
        if name.startswith(MADE_FROM_LABELS):
            continue
        if name.endswith(IDS):
            yield name, name.removesuffix(IDS) + MASK
        elif name.endswith(OTHER_IDS) and name.removesuffix(OTHER_IDS) + OTHER_MASK in named:
            yield name, name.removesuffix(OTHER_IDS) + OTHER_MASK


def num_elements(batch: Any) -> int:
    """Elements of all tensors of a batch: the size by which the worst sample is found."""
    return sum(tensor.numel() for tensor in tensors(batch))


def tensors(batch: Any) -> Iterator[torch.Tensor]:
    """All tensors of a batch, in order."""
    for group in _groups(batch):
        yield from group.values()


def _num_samples(groups: Sequence[Mapping[str, torch.Tensor]], ids: torch.Tensor) -> int:
    named = next(named for named in groups if any(tensor is ids for tensor in named.values()))
    if ids.shape[0] == 1 and MASK not in named and POSITIONS in named:
        return int((named[POSITIONS] == 0).sum())
    return ids.shape[0]


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
