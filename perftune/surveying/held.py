"""A Trainer to the reason why its micro-batch has to stay as it is, if there is one. Child side."""

from collections.abc import Callable
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader
from transformers import Trainer

from perftune.records.survey import SurveyRequest
from perftune.surveying.accumulation import loss_ignores_accumulation
from perftune.surveying.company import batch_norm, loss_depends_on_company
from perftune.tracing.weightless import weightless
from perftune.workloads.loading import unwrapped
from perftune.workloads.worst_batch import makes_batches, train_source

HELD = (
    "the loss of {model} in {trainer} is averaged over the micro-batch, and the Trainer leaves the correction for "
    "accumulation to it, so loss and gradients grow with the accumulation steps and another micro-batch would change "
    "what is learned; `model.accepts_loss_kwargs = False` in your code, before the Trainer is made, lets it divide"
)
COMPANY = (
    "the loss of {model} in {trainer} depends on who else is in a micro-batch, as with in-batch negatives or a sum "
    "over samples, so another micro-batch would change what is learned"
)
NORM = (
    "{norm} in {model} makes of each sample what the others of its micro-batch are, too, so another micro-batch would "
    "change what is learned"
)
LOADER = (
    "the data loader of {trainer} gives {num} samples where per_device_train_batch_size is {micro}, so the global "
    "batch would not be what was asked for"
)
GENERATED = (
    "{trainer} makes its samples from {own} rows of the data at a time, and with a micro-batch of {micro} it would be "
    "{num}, so that other samples would be learned from"
)
UNBUILT = "the workload cannot be built with a micro-batch of {micro}, which was tried: {error}"

OF_THE_LOADER = ("get_train_dataloader", "_get_dataloader")
"""Methods of transformers' Trainer that make the data loader with the micro-batch that it has."""


def why_held(trainer: Trainer, build: Callable[[int], Trainer], request: SurveyRequest) -> str | None:
    """Why another micro-batch would train something else; None where none was seen to.

    Args:
        trainer: as built with the user's own arguments.
        build: the same with another micro-batch. It is asked for where the loader does not simply follow.
        request: what is surveyed.
    """
    names = {"model": type(unwrapped(trainer)).__name__, "trainer": type(trainer).__name__}
    norm = batch_norm(trainer)
    if norm is not None:
        return NORM.format(norm=norm, **names)
    try:
        source = train_source(trainer)
    except AttributeError:  # a loader of the user's own kind
        return None
    if loss_ignores_accumulation(trainer, source, weightless=request.weightless):
        return HELD.format(**names)
    if not request.weightless and loss_depends_on_company(trainer, source):
        return COMPANY.format(**names)
    return _why_loader_holds(trainer, build, request, is_generated=makes_batches(source))


def _why_loader_holds(
    trainer: Any, build: Callable[[int], Trainer], request: SurveyRequest, *, is_generated: bool
) -> str | None:
    """Where the first look says that the loader does not follow, a second Trainer, without weights, is asked."""
    own, per_device = trainer.args.per_device_train_batch_size, request.global_batch_size // request.num_devices
    micro = next((size for size in other_sizes(per_device) if size != own), None)
    first = num_drawn(trainer)
    if micro is None or first is None or not (is_generated or _seems_fixed(trainer, micro)):
        return None
    try:
        with weightless():
            num = num_drawn(build(micro))
    except Exception as error:  # noqa: BLE001 (whatever the user's code raises, it takes no such micro-batch)
        return UNBUILT.format(micro=micro, error=(str(error).strip() or type(error).__name__).splitlines()[0])
    if num == (first if is_generated else micro):
        return None
    text = GENERATED if is_generated else LOADER
    return text.format(trainer=type(trainer).__name__, own=first, micro=micro, num=num)


def other_sizes(per_device: int) -> list[int]:
    """Micro-batches to ask about, those near the half first."""
    sizes = [size for size in range(1, per_device + 1) if per_device % size == 0]
    return sorted(sizes, key=lambda size: abs(size - per_device / 2))


def num_drawn(trainer: Any) -> int | None:
    """Samples of the first batch that the sampler draws; None where no sampler of torch's does."""
    loader = trainer.get_train_dataloader()
    inner = getattr(loader, "base_dataloader", loader)
    if not isinstance(inner, DataLoader):
        return None
    if inner.batch_sampler is None:
        return inner.batch_size
    drawn = next(islice(iter(inner.batch_sampler), 1), None)
    return None if drawn is None else len(drawn)


def _seems_fixed(trainer: Any, micro: int) -> bool:
    """Whether a loader of the user's own is not what it should be once the Trainer's arguments are changed."""
    if all(getattr(type(trainer), name) is getattr(Trainer, name) for name in OF_THE_LOADER):
        return False
    args = trainer.args
    own = args.per_device_train_batch_size
    kept = getattr(trainer, "_train_batch_size", None)
    try:
        args.per_device_train_batch_size = trainer._train_batch_size = micro  # noqa: SLF001 (what its loader reads)
        return num_drawn(trainer) != micro
    except Exception:  # noqa: BLE001 (then a Trainer that was built so has to be asked)
        return True
    finally:
        args.per_device_train_batch_size, trainer._train_batch_size = own, kept  # noqa: SLF001
