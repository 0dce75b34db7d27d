"""A Trainer to the reason why its loss depends on who else is in a micro-batch, if it does. Child side.

With in-batch negatives (SentenceTransformers' MultipleNegativesRankingLoss, SimCSE, two towers) the other samples are
what a sample is told apart from, so that another micro-batch is another task; a loss that is summed over the
micro-batch and then divided by the accumulation steps grows with it; batch norm makes a sample another one beside
other samples. A loss that is a mean over samples or tokens is none of these: that of many lies between those of parts.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm
from transformers import set_seed

from perftune.surveying.accumulation import loss_of, undisturbed
from perftune.workloads.batch_size import tensors
from perftune.workloads.worst_batch import Source, all_samples, num_rows

PART, NUM_PARTS = 2, 4
"""Samples of a part, for there are collators that need two, and parts that are compared with the whole."""
TOLERANCE = 0.01
"""Relative difference from which a loss is another one. Where nothing depends, rounding alone is left, 1e-6."""
RANDOM = 1e-4
"""A loss that differs by more for the same samples draws random numbers, and is not judged."""


def batch_norm(trainer: Any) -> str | None:
    """The class of a module that takes mean and variance from the micro-batch while the model trains; None: no such."""
    model = trainer.model
    was_training = model.training
    model.train()  # people keep some of them in evaluation mode by an override of this
    try:
        return next((type(m).__name__ for m in model.modules() if isinstance(m, _BatchNorm) and m.training), None)
    finally:
        model.train(was_training)


def loss_depends_on_company(trainer: Any, source: Source) -> bool:
    """Whether the loss of a step is another one when its samples are split into micro-batches in another way.

    The same samples twice have to have the loss that they have once, and the loss of unlike samples has to lie between
    those of their parts. False where that cannot be asked: the loss cannot be computed here, it draws random numbers,
    or the batches are made by the Trainer within its step.

    Args:
        trainer: as built, with its weights.
        source: its data.
    """
    try:
        with undisturbed(trainer.model):
            return _depends(trainer, source)
    except Exception:  # noqa: BLE001 (a loss that cannot be computed here is not judged; trials will tell)
        return False


def _depends(trainer: Any, source: Source) -> bool:
    samples = list(_spread(source.dataset, PART * NUM_PARTS))
    first = samples[:PART]
    if next(tensors(source.collate(first)), None) is None:
        return False
    once, again = (_losses(trainer, source, [first], seed)[0] for seed in (0, 1))
    if _differ(once, again, RANDOM):
        return False
    apart = _losses(trainer, source, [first, first])
    (together,) = _losses(trainer, source, [first * 2])
    if _differ(together, apart[0], TOLERANCE):
        return True
    parts = _losses(trainer, source, [samples[i : i + PART] for i in range(0, len(samples), PART)])
    (whole,) = _losses(trainer, source, [samples])
    nearest = min(max(whole, min(parts)), max(parts))
    return _differ(whole, nearest, TOLERANCE)


def _spread(dataset: Any, count: int) -> Iterator[Any]:
    """Samples from all over the data, which may be sorted by class; the first ones of data without length.

    Drawn, as every tenth sample, say, may be of one class, too.
    """
    length = num_rows(dataset)
    if length is None:
        return islice(all_samples(dataset), count)
    return (dataset[index] for index in random.Random(0).sample(range(length), min(count, length)))  # noqa: S311


def _losses(trainer: Any, source: Source, micro_batches: Sequence[list[Any]], seed: int = 0) -> list[float]:
    """Of each micro-batch of one optimizer step: what that of the step would be if all were like this one."""
    set_seed(seed)
    batches = [source.collate(samples) for samples in micro_batches]
    num_items = trainer._get_num_items_in_batch(batches, trainer.args.device)  # noqa: SLF001 (as the Trainer does)
    factor = len(batches) if is_summed(trainer, num_items) else 1
    return [factor * float(loss_of(trainer, batch, num_items)) for batch in batches]


def is_summed(trainer: Any, num_items: Any) -> bool:
    """Whether the Trainer adds up the losses of micro-batches as they are (``Trainer.training_step``)."""
    said = getattr(trainer, "loss_is_scaled_for_ga", None)
    if said is not None:
        return bool(said)
    return bool(trainer.model_accepts_loss_kwargs and num_items is not None) or trainer.compute_loss_func is not None


def _differ(one: float, other: float, tolerance: float) -> bool:
    return abs(one - other) > tolerance * max(abs(one), abs(other))
