"""A workload source to the Trainer that it builds: the user's function from the user's file, or a model and a task."""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import transformers
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import TrainOutput

from perftune.errors import ArgumentsChangedError, WorkloadError
from perftune.records.candidate import MICRO_BATCH
from perftune.records.probe import ModelWorkload
from perftune.records.trial import WorkloadSource
from perftune.workloads.tasks import build_from_model

MUST_REACH = (
    MICRO_BATCH,
    "gradient_accumulation_steps",
    "auto_find_batch_size",
    "bf16",
    "fp16",
    "optim",
    "dataloader_num_workers",
)
"""Arguments that a build function must hand on to its Trainer, or the trial would measure something else."""


def load_module(path: Path) -> ModuleType:
    """Import a user's file by path, with its folder on ``sys.path``.

    Raises:
        WorkloadError: there is no such file. What the file itself raises goes through.
    """
    # A file of the user's may have the name of a package, `datasets.py` say, that others still have to find.
    name = f"user_{path.stem}" if path.stem in sys.modules or importlib.util.find_spec(path.stem) else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise WorkloadError(f"build: {path} is not a Python file; write path/to/file.py:function")
    sys.path.insert(0, str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _call_build(build: str, args: TrainingArguments) -> Any:
    path, _, name = build.rpartition(":")
    function = getattr(load_module(Path(path)), name, None)
    if not callable(function):
        raise WorkloadError(f"build: {path} has no function {name}; it should be `def {name}(args) -> Trainer`")
    try:
        inspect.signature(function).bind(args)
    except TypeError as error:
        raise WorkloadError(
            f"{build} cannot be called with the TrainingArguments and nothing else ({error}); write `def {name}(args)`"
        ) from error
    return function(args)


def build_trainer(source: WorkloadSource, args: TrainingArguments, attn_implementation: str | None = None) -> Trainer:
    """Build the Trainer of a workload.

    Raises:
        WorkloadError: what was built is no Trainer, or one that the installed transformers cannot train with.
        ArgumentsChangedError: it was built with other arguments than it was given.
    """
    asked = {name: getattr(args, name) for name in MUST_REACH}  # a build function may change the object itself
    if source.build is not None:
        trainer = _call_build(source.build, args)
    else:
        workload = ModelWorkload.model_validate(source.model)
        trainer = build_from_model(
            workload,
            args,
            attn_implementation=attn_implementation,
            trust_remote_code=source.trust_remote_code,
            seed=args.seed,
        )
    if not isinstance(trainer, Trainer):
        raise WorkloadError(f"{source.build} returned {_described(trainer)}")
    check_signatures(trainer)
    check_arguments_reached(trainer, asked)
    if attn_implementation is not None and source.build is not None:
        unwrapped(trainer).set_attn_implementation(attn_implementation)
    return trainer


def _described(built: Any) -> str:
    """What a build function returned that is no Trainer, and what it should return."""
    kind, module = type(built).__name__, type(built).__module__
    wanted = "it should return a transformers.Trainer"
    if built is None:
        return f"None; {wanted}, so end it with `return trainer`"
    if isinstance(built, type):
        return f"the class {built.__name__}; it should return an object, such as {built.__name__}(…)"
    if type(built) is TrainOutput:
        return f"what train() returns; {wanted} that has not been trained: leave train() to perftune"
    if isinstance(built, torch.nn.Module):
        return f"{kind}, a model; {wanted} that holds it"
    if hasattr(built, "train") and hasattr(built, "model"):
        return (
            f"a {kind} of {module.partition('.')[0]}, which trains by itself and is no transformers.Trainer, so its "
            "steps cannot be watched; what works is any subclass of transformers.Trainer, for sentence embeddings "
            "SentenceTransformerTrainer"
        )
    return f"{kind}; {wanted}"


def check_signatures(trainer: Any) -> None:
    """Refuse methods that the installed transformers calls with more arguments than they take.

    Raises:
        WorkloadError: names the method, and what to add.
    """
    own_step = type(trainer).training_step is not Trainer.training_step
    _check_takes(trainer.training_step, (None, None, None), {}, type(trainer))
    if not own_step:
        taken = {"num_items_in_batch": None}
        _check_takes(trainer.compute_loss, (None, None), taken, type(trainer))


def _check_takes(method: Callable[..., Any], positional: tuple[Any, ...], named: dict[str, Any], owner: type) -> None:
    try:
        inspect.signature(method).bind(*positional, **named)
    except TypeError:
        raise WorkloadError(
            f"{owner.__name__}.{method.__name__} takes no num_items_in_batch, which transformers "
            f"{transformers.__version__} hands to it, so it cannot train; add `num_items_in_batch=None` to its "
            "arguments"
        ) from None


def check_arguments_reached(trainer: Trainer, asked: Mapping[str, Any]) -> None:
    """Refuse a Trainer that was built with other arguments than were asked for.

    Raises:
        ArgumentsChangedError: names the arguments that differ.
    """
    lost = [
        f"{name} is {_shown(getattr(trainer.args, name))} and not {_shown(value)}"
        for name, value in asked.items()
        if getattr(trainer.args, name) != value
    ]
    if lost:
        raise ArgumentsChangedError(
            f"the Trainer does not use the arguments that build(args) was given: {'; '.join(lost)}. "
            "Hand `args` on as they are: an SFTConfig can be made with SFTConfig(**overrides from args). "
            "What should stay fixed goes into `training_arguments` and `knobs` of the probe file"
        )


def _shown(value: Any) -> str:
    """A value as it is written in a file: transformers makes an enum of some."""
    return repr(getattr(value, "value", value))


def unwrapped(trainer: Trainer) -> Any:
    """The transformers model inside PEFT or other wrappers."""
    model: Any = trainer.model
    return model.get_base_model() if hasattr(model, "get_base_model") else model
