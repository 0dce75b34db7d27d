"""What the user's code decides by itself, whatever its arguments say, to knobs that cannot be turned. Child side."""

from collections.abc import Iterable, Mapping
from typing import Any

from transformers import Trainer, TrainingArguments

from perftune.errors import WorkloadError
from perftune.records.base import Setting
from perftune.records.candidate import CHECKPOINTING, COMPILE, SAMPLING
from perftune.workloads.arguments import installed_name
from perftune.workloads.loading import unwrapped

FIELDS = (
    CHECKPOINTING, COMPILE, SAMPLING, "dataloader_pin_memory", "dataloader_prefetch_factor",
    "dataloader_persistent_workers", "use_liger_kernel", "torch_empty_cache_steps", "tf32",
)  # fmt: skip
"""Arguments that a build function may keep for itself, as one that makes its own from those that it is given easily
does: a trial that asks for another value is none. Without those of `loading.MUST_REACH` no trial is one."""


class NotReachedError(NotImplementedError):
    """The workload does not do what the candidate asks for."""


def asked_for(args: TrainingArguments) -> dict[str, Any]:
    """Name -> value of `FIELDS`, before a build function can change them."""
    return {name: _value(args, name) for name in FIELDS}


def set_by_code(trainer: Trainer, asked: Mapping[str, Any]) -> dict[str, str]:
    """Knob -> why it stays as the user's code has it."""
    found = {
        name: f"build(args) was given {value!r} and its Trainer has {_value(trainer.args, name)!r}; hand `args` on as "
        "they are to have it tuned"
        for name, value in asked.items()
        if _value(trainer.args, name) != value
    }
    if not _value(trainer.args, CHECKPOINTING) and _is_checkpointing(trainer):
        found[CHECKPOINTING] = "the code switches it on in the model, whatever the argument says; leave it to that"
    if not _value(trainer.args, COMPILE) and _is_compiled(trainer):
        found[COMPILE] = "the code compiles the model by itself, whatever the argument says; leave it to that"
    return found


def refuse_what_did_not_reach(trainer: Trainer, asked: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse to measure a candidate that the workload does not follow.

    Args:
        trainer: as built.
        asked: what it was asked for, as `asked_for` has it.
        names: of the knobs that the candidate sets.

    Raises:
        NotReachedError: names the first argument that did not reach the Trainer.
    """
    for name in names:
        if name in asked and _value(trainer.args, name) != asked[name]:
            raise NotReachedError(f"{name}: {set_by_code(trainer, asked)[name]}")


def _value(args: TrainingArguments, name: str) -> Setting:
    try:
        value = getattr(args, installed_name(name), None)
    except WorkloadError:
        return None
    plain: Setting = getattr(value, "value", value)
    return plain


def _is_checkpointing(trainer: Trainer) -> bool:
    model = unwrapped(trainer)
    newer, older = "is_activation_checkpointing", "is_gradient_checkpointing"
    return bool(getattr(model, newer if hasattr(type(model), newer) else older, False))


def _is_compiled(trainer: Trainer) -> bool:
    """By ``torch.compile(model)`` or by ``model.compile()``."""
    model: Any = trainer.model
    return hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None
