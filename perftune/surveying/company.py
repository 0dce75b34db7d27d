"""A Trainer to the answer whether the loss of a sample depends on who else is in its micro-batch. Child side.

With in-batch negatives (SentenceTransformers' MultipleNegativesRankingLoss, SimCSE, two towers) the other samples are
what a sample is told apart from, so that another micro-batch is another task; a loss that is summed over the
micro-batch grows with it. A loss that is a mean of samples' losses, or of tokens', is the same for two samples and for
the same two twice.
"""

from itertools import islice
from typing import Any

import torch

from perftune.surveying.accumulation import loss_of, undisturbed
from perftune.workloads.worst_batch import Source, all_samples

FEW = 2
TOLERANCE = 0.01
"""Relative difference from which a loss is another one. Where nothing depends, rounding alone is left, 1e-6."""
RANDOM = 1e-4
"""A loss that differs by more for the same samples draws random numbers, and is not judged."""


def loss_depends_on_company(trainer: Any, source: Source) -> bool:
    """Whether the loss of the same samples twice is not that of these samples once.

    False where that cannot be asked: the loss cannot be computed here, draws random numbers, or is 0.

    Args:
        trainer: as built, with its weights.
        source: its data.
    """
    try:
        samples = list(islice(all_samples(source.dataset), FEW))
        with undisturbed(trainer.model):
            once, again = (_loss(trainer, source, samples, seed) for seed in (0, 1))
            twice = _loss(trainer, source, samples * 2, 0)
    except Exception:  # noqa: BLE001 (a loss that cannot be computed here is not judged; trials will tell)
        return False
    if not once or abs(again / once - 1) > RANDOM:
        return False
    return abs(twice / once - 1) > TOLERANCE


def _loss(trainer: Any, source: Source, samples: list[Any], seed: int) -> float:
    torch.manual_seed(seed)
    batch = source.collate(samples)
    num_items = trainer._get_num_items_in_batch([batch], trainer.args.device)  # noqa: SLF001 (as the Trainer does)
    return float(loss_of(trainer, batch, num_items))
