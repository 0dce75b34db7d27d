"""Logits and labels to a loss that does not depend on how the global batch is cut into micro-batches."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import cross_entropy

IGNORED = -100
"""The label of positions that do not count: torch's and transformers' convention."""


def mean_over_items(label_smoothing: float = 0.0) -> Callable[..., torch.Tensor]:
    """A ``compute_loss_func`` of the Trainer: cross entropy, averaged over all labels of the optimizer step.

    Several models of transformers average over the micro-batch and leave ``num_items_in_batch`` unused; their
    gradient then grows with the number of accumulation steps.

    Args:
        label_smoothing: as ``TrainingArguments.label_smoothing_factor``.
    """

    def compute_loss(
        outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        logits = outputs["logits"]
        total = cross_entropy(
            logits.reshape(-1, logits.shape[-1]).float(),
            labels.reshape(-1),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=label_smoothing,
        )
        num_items = (labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return total / num_items

    return compute_loss
