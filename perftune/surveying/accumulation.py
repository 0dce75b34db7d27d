"""A Trainer to the answer whether its loss is on one scale for every number of accumulation steps. Child side.

Where a model's ``forward`` takes keyword arguments, the Trainer hands it ``num_items_in_batch``, takes its loss for
normalised over the whole optimizer step and does not divide by the accumulation steps (``Trainer.training_step``,
transformers 5). Some models (BERT for classification, T5) take the argument and average over the micro-batch all the
same: their loss and gradients grow with the accumulation steps, and another micro-batch changes what is learned.
"""

import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import Trainer

from perftune.tracing.packed import pack
from perftune.tracing.reach import Reach
from perftune.tracing.recorder import Recorder
from perftune.tracing.weightless import materialise
from perftune.workloads.worst_batch import Source, all_samples

FEW = 2
"""Samples of the micro-batch that is asked about."""


def loss_ignores_accumulation(trainer: Trainer, source: Source, *, weightless: bool = False) -> bool:
    """Whether the Trainer leaves the correction for accumulation to a model that does not make it.

    The loss of one micro-batch is computed twice, for one and for two micro-batches in the step: a model that
    normalises as it is asked to halves it; a sum over samples needs no correction. Without weights there is no loss to
    compare; there it is asked whether the number of items has any part in the loss. False where that cannot be asked.

    Args:
        trainer: as built.
        source: its data.
        weightless: the model has shapes only; its parameters are fake ones afterwards.
    """
    if not trainer.model_accepts_loss_kwargs or trainer.compute_loss_func is not None:
        return False
    if getattr(trainer, "loss_is_scaled_for_ga", None) is False:
        return False
    try:
        return _ignores(trainer, source, weightless)
    except Exception:  # noqa: BLE001 (a loss that cannot be computed here is not judged; trials will tell)
        return False


def _ignores(trainer: Any, source: Source, weightless: bool) -> bool:
    samples = list(islice(all_samples(source.dataset), FEW))
    num_items = trainer._get_num_items_in_batch([source.collate(samples)], trainer.args.device)  # noqa: SLF001
    if num_items is None:
        return False
    if weightless:
        return not _reaches_loss(trainer, source.collate(samples), torch.as_tensor(num_items))
    with undisturbed(trainer.model):
        once, twice = (float(loss_of(trainer, source.collate(samples), times * num_items)) for times in (1, 2))
        both = float(loss_of(trainer, source.collate(samples * 2), num_items))
    return once > 0 and abs(twice / once - 1) < 0.01 and not _is_sum(once, both)


def _is_sum(once: float, both: float) -> bool:
    """A loss that is summed over the samples may be left as it is: all of a step add up to the same."""
    return abs(both / once - 2) < 0.01


def _reaches_loss(trainer: Any, batch: Any, num_items: torch.Tensor) -> bool:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    pack(trainer.model, mode, Recorder())
    materialise(trainer.model, mode)
    fake = mode.from_tensor(num_items)
    reach = Reach(fake)
    with undisturbed(trainer.model), trainer.compute_loss_context_manager(), reach:
        loss = loss_of(trainer, batch, fake)
    return reach.has_reached(loss)


def loss_of(trainer: Any, batch: Any, num_items: Any) -> torch.Tensor:
    """As ``Trainer.training_step`` computes it, before any division by the accumulation steps."""
    inputs = trainer._prepare_inputs(batch)  # noqa: SLF001 (as Trainer.training_step does)
    loss: torch.Tensor = trainer.compute_loss(trainer.model, inputs, num_items_in_batch=num_items)
    return loss


@contextlib.contextmanager
def undisturbed(model: torch.nn.Module) -> Iterator[None]:
    """No gradients, no dropout; the model's mode and the random numbers are as before afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng():
            yield
    finally:
        model.train(was_training)
