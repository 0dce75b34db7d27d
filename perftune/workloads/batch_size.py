"""A collated batch to what it holds: samples, tokens, elements. Child side."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch


class BatchSize(NamedTuple):
    """What one micro-batch holds. Tensors are summed lazily: reading them would wait for the GPU."""

    num_samples: int
    num_padded_tokens: int
    token_mask: torch.Tensor | None
    """Non-zero where there is a token; None when every position is one."""

    @property
    def num_tokens(self) -> int:
        """Tokens without padding; waits for the device."""
        if self.token_mask is None:
            return self.num_padded_tokens
        return int(torch.count_nonzero(self.token_mask))


def _tensors(batch: Any) -> dict[str, torch.Tensor]:
    if not isinstance(batch, Mapping):
        return {}
    return {key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}


def batch_size(batch: Any) -> BatchSize:
    """Count a micro-batch.

    Samples are the first dimension, except where sequences are packed into one row (``position_ids`` that start
    anew): there each start is a sample. Tokens are those of ``input_ids`` that the attention mask keeps.
    """
    tensors = _tensors(batch)
    ids = tensors.get("input_ids")
    if ids is None:
        first = next(iter(tensors.values()), None)
        return BatchSize(first.shape[0] if first is not None and first.dim() else 0, 0, None)
    mask = tensors.get("attention_mask")
    num_samples = ids.shape[0]
    if num_samples == 1 and mask is None and "position_ids" in tensors:
        num_samples = int((tensors["position_ids"] == 0).sum())
    mask = mask if mask is not None and mask.shape == ids.shape else None
    return BatchSize(num_samples, ids.numel(), mask)


def num_elements(batch: Any) -> int:
    """Elements of all tensors of a batch: the size by which the worst sample is found."""
    return sum(tensor.numel() for tensor in _tensors(batch).values())
