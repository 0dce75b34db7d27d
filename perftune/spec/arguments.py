"""The user's own TrainingArguments to what is wrong with them: unknown, of another type, or not to be probed."""

from collections.abc import Callable, Iterator
from typing import Any

from perftune.records.candidate import MICRO_BATCH, NOT_ARGUMENTS, PRECISION
from perftune.spec.argument_fields import RENAMED, WORDS, argument_fields, fits
from perftune.spec.file_form import SPELLED_BOOLS, ProbeFile
from perftune.spec.messages import NUMBER, KeyPath, did_you_mean, one_of, shown

SECTION = "training_arguments"
Finding = tuple[KeyPath, str]

_CANNOT_PROBE = "perftune measures plain training and DDP; it cannot probe {what}. Leave it out"


def _splits_batches(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.get("split_batches"))


def _sets_steps(value: Any) -> bool:
    kwargs = value.get("gradient_accumulation_kwargs") if isinstance(value, dict) else None
    return isinstance(kwargs, dict) and "num_steps" in kwargs


REFUSED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "auto_find_batch_size",
        bool,
        "it shrinks the batch when memory runs out, so that the global batch changes unseen. Leave it out",
    ),
    ("deepspeed", bool, _CANNOT_PROBE.format(what="DeepSpeed")),
    ("fsdp", bool, _CANNOT_PROBE.format(what="FSDP")),
    ("fsdp_config", bool, _CANNOT_PROBE.format(what="FSDP")),
    ("parallelism_config", bool, _CANNOT_PROBE.format(what="other kinds of parallelism")),
    (
        "resume_from_checkpoint",
        bool,
        "every trial starts from the model that the workload builds. Leave it out, and give it to your own run",
    ),
    (
        "accelerator_config",
        _splits_batches,
        f"split_batches makes {MICRO_BATCH} the batch of all devices. Leave split_batches out",
    ),
    (
        "accelerator_config",
        _sets_steps,
        "num_steps overrides the accumulation that follows from the global batch. Leave num_steps out",
    ),
    (
        "hub_token",
        bool,
        "a secret would stand in the study and in the arguments written. Log in with `hf auth login`, or set HF_TOKEN",
    ),
)
"""Arguments, those of their values that make no sense in a probe, and why, with what to do."""


def spelled_booleans(arguments: dict[str, Any]) -> dict[str, Any]:
    """Turn ``yes``, ``no``, ``on``, ``off`` into booleans where the argument is one; ``eval_strategy: no`` stays."""
    fields = argument_fields()
    return {
        name: SPELLED_BOOLS.get(value.lower(), value)
        if isinstance(value, str) and "bool" in fields.get(name, ())
        else value
        for name, value in arguments.items()
    }


def check_arguments(values: dict[str, Any]) -> Iterator[Finding]:
    """What is wrong with the user's own arguments, batch sizes aside."""
    arguments = values.get(SECTION)
    if not isinstance(arguments, dict):
        return
    for name, value in arguments.items():
        text = _wrong_name(name) or _wrong_type(name, value) or _refused(name, value)
        if text:
            yield (SECTION, name), text
    yield from _contradictions(arguments, values)


def _wrong_name(name: str) -> str | None:
    fields = argument_fields()
    if name in fields or not fields:
        return None
    if name in {*NOT_ARGUMENTS, PRECISION}:
        return f"is no TrainingArguments field; write it under knobs, such as `knobs: {{{name}: …}}`"
    if name in RENAMED:
        return f"the installed transformers has no such field any more; write {RENAMED[name]}"
    if name in ProbeFile.model_fields:
        return "is no TrainingArguments field; it belongs at the top level of the file"
    return "the installed transformers has no such TrainingArguments field." + did_you_mean(name, fields)


def _wrong_type(name: str, value: Any) -> str | None:
    types = argument_fields().get(name, frozenset())
    if fits(value, types):
        return None
    quoted = isinstance(value, str) and {"int", "float"} & types and NUMBER.fullmatch(value)
    wanted = one_of(sorted(WORDS[kind] for kind in types if kind in WORDS))
    return f"{shown(value)} should be {wanted}" + ("; write it without quotes" if quoted else "")


def _refused(name: str, value: Any) -> str | None:
    seen = "" if name == "hub_token" else f"{shown(value)}: "
    return next((f"{seen}{why}" for other, applies, why in REFUSED if other == name and applies(value)), None)


def _contradictions(arguments: dict[str, Any], values: dict[str, Any]) -> Iterator[Finding]:
    if arguments.get("fp16") is True and arguments.get("bf16") is True:
        yield (SECTION, "fp16"), "fp16 and bf16 are both true; keep one of the two"
    for suffix in ("", "_kwargs"):
        old, new = f"gradient_checkpointing{suffix}", f"activation_checkpointing{suffix}"
        if arguments.get(old) is not None and arguments.get(new) is not None:
            yield (SECTION, old), f"{old} is the older name of {new}; keep one of the two"
    target = values.get("target")
    device = target.get("device", "auto") if isinstance(target, dict) else "auto"
    if arguments.get("use_cpu") is True and device != "cpu":
        yield (SECTION, "use_cpu"), f"true, but target.device is {shown(device)}; write `target: {{device: cpu}}`"
