"""A workload source to the Trainer that it builds: the user's function from the user's file, or a model and a task."""

import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from transformers import Trainer, TrainingArguments

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
        WorkloadError: what was built is no Trainer.
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
        raise WorkloadError(f"{source.build} returned {_no_trainer(trainer)}")
    check_arguments_reached(trainer, asked)
    if attn_implementation is not None and source.build is not None:
        unwrapped(trainer).set_attn_implementation(attn_implementation)
    return trainer


def _no_trainer(built: Any) -> str:
    if built is None:
        return "None; is `return trainer` missing at its end? It should return a transformers.Trainer"
    if isinstance(built, type):
        return f"the class {built.__name__}; it should return an object, such as {built.__name__}(…)"
    return f"{type(built).__name__}; it should return a transformers.Trainer"


def check_arguments_reached(trainer: Trainer, asked: Mapping[str, Any]) -> None:
    """Refuse a Trainer that was built with other arguments than were asked for.

    Raises:
        ArgumentsChangedError: names the arguments that differ.
    """
    lost = [
        f"{name} is {getattr(trainer.args, name)!r} and not {value!r}"
        for name, value in asked.items()
        if getattr(trainer.args, name) != value
    ]
    if lost:
        raise ArgumentsChangedError(
            f"the Trainer does not use the arguments that build(args) was given: {'; '.join(lost)}. "
            "Hand `args` on as they are: an SFTConfig can be made with SFTConfig(**overrides from args). "
            "What should stay fixed goes into `training_arguments` and `knobs` of the probe file"
        )


def unwrapped(trainer: Trainer) -> Any:
    """The transformers model inside PEFT or other wrappers."""
    model: Any = trainer.model
    return model.get_base_model() if hasattr(model, "get_base_model") else model
