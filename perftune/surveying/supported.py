"""A built Trainer and the software around it to the values that each knob can take, and why not others. Child side."""

import importlib.util
import os
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from transformers import Trainer
from transformers.training_args import OptimizerNames
from transformers.utils.import_utils import is_liger_kernel_available

from perftune.devices.cuda_allocator import DEFAULT
from perftune.records.base import Setting
from perftune.records.candidate import (
    ATTENTION,
    CHECKPOINTING,
    COMPILE,
    CUDA_ALLOCATOR,
    OPTIMIZER,
    PRECISION,
    SAMPLING,
    WORKERS,
)
from perftune.workloads.arguments import field_names, installed_name
from perftune.workloads.loading import unwrapped

ANY = "*"
BNB, TORCHAO = "bitsandbytes", "torchao"
NEEDS_PACKAGE = {
    "adamw_bnb_8bit": BNB, "adamw_8bit": BNB, "paged_adamw_32bit": BNB, "paged_adamw_8bit": BNB, "lion_8bit": BNB,
    "lion_32bit": BNB, "paged_lion_32bit": BNB, "paged_lion_8bit": BNB, "ademamix": BNB, "ademamix_8bit": BNB,
    "adamw_torch_8bit": TORCHAO, "adamw_torch_4bit": TORCHAO,
}  # fmt: skip
"""Optimizer -> the package that transformers imports for it (transformers/trainer_optimizer.py)."""
DEFAULT_OPTIMIZERS = (
    "adamw_torch", "adamw_torch_fused", "adafactor", "adamw_bnb_8bit", "paged_adamw_8bit", "adamw_torch_8bit"
)  # fmt: skip
OPTIMIZER_MAKERS = ("create_optimizer", "create_optimizer_and_scheduler")
"""Methods of a Trainer that people override to make an optimizer of their own; the last one calls the first."""
UNLIKE_OPTIMIZERS = ("adamw_torch", "adafactor")
"""Are of two classes."""
ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flex_attention")
NO_FP16_ON_CPU = (
    "on the CPU accelerate runs fp16 without autocast, which is fp32 by another name (accelerate/accelerator.py, "
    "Accelerator.__init__: native_amp)"
)
CUDA_ONLY = ("dataloader_pin_memory", "torch_empty_cache_steps", CUDA_ALLOCATOR)

WORKER_NUMBERS = (0, 1, 2, 4, 8, 16, 32)
"""Of data loader workers, whatever the number of cores: how many of them can be worth it is for the search to say."""


class Support:
    """Collects, knob by knob, what can be taken and what cannot."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[Setting, ...]] = {}
        self.reasons: dict[str, dict[str, str]] = {}

    def add(self, knob: str, values: Iterable[Setting], reasons: dict[Setting, str] | None = None) -> None:
        """Values that are asked about, and the reason of each that cannot be taken."""
        refused = {str(value): reason for value, reason in (reasons or {}).items()}
        self.values[knob] = tuple(value for value in dict.fromkeys(values) if str(value) not in refused)
        if refused:
            self.reasons[knob] = refused

    def hold(self, knob: str, value: Setting, reason: str) -> None:
        """A knob that has to stay at one value."""
        self.values[knob] = (value,)
        self.reasons[knob] = {f"other than {value}": reason}

    def none(self, knob: str, reason: str) -> None:
        """A knob that cannot be turned here at all."""
        self.values[knob] = ()
        self.reasons[knob] = {ANY: reason}


def attentions(model: Any, device: str, named: Iterable[Setting] = ()) -> tuple[list[Setting], dict[Setting, str]]:
    """Attention implementations that this model accepts, by setting each; the model is left as it was."""
    config = getattr(model, "config", None)
    if not hasattr(model, "set_attn_implementation") or config is None:
        return [], {ANY: "the model is not one of transformers"}
    own = config._attn_implementation  # noqa: SLF001 (transformers has no public reader)
    accepted: list[Setting] = []
    reasons: dict[Setting, str] = {}
    for name in dict.fromkeys((*ATTENTIONS, *map(str, named))):
        if name == "flex_attention" and device == "cpu":
            reasons[name] = "flex_attention has no backward on the CPU (torch.nn.attention.flex_attention)"
            continue
        try:
            model.set_attn_implementation(name)
        except (ValueError, ImportError, NotImplementedError, AttributeError) as error:
            reasons[name] = str(error).splitlines()[0]
        else:
            accepted.append(name)
    model.set_attn_implementation(own)
    return accepted, reasons


def optimizers(trainer: Trainer, named: Iterable[Setting]) -> tuple[list[Setting], dict[Setting, str]]:
    """Optimizers whose package is here; none when the user hands on an optimizer of their own."""
    if trainer.optimizer is not None or trainer.optimizer_cls_and_kwargs is not None:
        return [], {ANY: "the Trainer is given an optimizer of its own"}
    maker = optimizer_maker(trainer)
    if maker is not None:
        return [], {ANY: f"{type(trainer).__name__}.{maker} makes an optimizer of its own and does not heed `optim`"}
    known = {name.value for name in OptimizerNames}
    reasons: dict[Setting, str] = {}
    asked = list(dict.fromkeys((*DEFAULT_OPTIMIZERS, *named)))
    for name in asked:
        package = NEEDS_PACKAGE.get(str(name))
        if name not in known:
            reasons[name] = "the installed transformers has no optimizer of this name"
        elif package and importlib.util.find_spec(package) is None:
            reasons[name] = f"{package} is not installed"
    return asked, reasons


def optimizer_maker(trainer: Any) -> str | None:
    """The user's own method that makes the same optimizer whatever ``optim`` says; None where transformers' is called.

    It is called with two values of ``optim``. One that cannot be called here is not judged.
    """
    overridden = [name for name in OPTIMIZER_MAKERS if getattr(type(trainer), name) is not getattr(Trainer, name)]
    if not overridden:
        return None
    own = trainer.args.optim
    try:
        one, other = (_optimizer_with(trainer, overridden[-1], name) for name in UNLIKE_OPTIMIZERS)
    except Exception:  # noqa: BLE001 (trials will tell)
        return None
    finally:
        trainer.args.optim, trainer.optimizer, trainer.lr_scheduler = own, None, None
    return overridden[-1] if type(one) is type(other) else None


def _optimizer_with(trainer: Any, maker: str, name: str) -> Any:
    trainer.args.optim, trainer.optimizer, trainer.lr_scheduler = OptimizerNames(name), None, None
    arguments = {"num_training_steps": 10} if maker == OPTIMIZER_MAKERS[-1] else {}
    getattr(trainer, maker)(**arguments)
    return trainer.optimizer


def precisions(device: str) -> tuple[list[Setting], dict[Setting, str]]:
    """Precisions that the device has."""
    asked: list[Setting] = ["fp32", "tf32", "bf16", "fp16"]
    if device == "cpu":
        return asked, {"tf32": "tf32 is a format of NVIDIA GPUs from Ampere on", "fp16": NO_FP16_ON_CPU}
    from perftune.devices import cuda

    found = {name: cuda.why_unsupported(str(name)) for name in asked}
    return asked, {name: reason for name, reason in found.items() if reason}


def _compile_reason(device: str) -> str | None:
    off = next((name for name in ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE") if os.environ.get(name) == "1"), None)
    if off is not None:
        return f"{off}=1 in this shell makes torch.compile do nothing; unset it to have this tried"
    if device == "cpu" and not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++")):
        return "torch.compile on the CPU needs a C++ compiler, and none was found"
    return None


def _add_field_knobs(support: Support, trainer: Trainer, device: str, named: Mapping[str, tuple[Setting, ...]]) -> None:
    names = field_names()
    on_cuda = device == "cuda"
    reason = _compile_reason(device)
    support.add(COMPILE, [False, True], {True: reason} if reason else None)
    support.add(WORKERS, [*WORKER_NUMBERS, *named.get(WORKERS, ())])
    support.add("dataloader_prefetch_factor", [None, 2, 4, *named.get("dataloader_prefetch_factor", ())])
    support.add("dataloader_persistent_workers", [False, True])
    for knob in CUDA_ONLY:
        if not on_cuda:
            support.none(knob, "there is no CUDA device")
    if on_cuda:
        support.add("dataloader_pin_memory", [True, False])
        support.add("torch_empty_cache_steps", [None, 1, 10, *named.get("torch_empty_cache_steps", ())])
        support.add(CUDA_ALLOCATOR, [DEFAULT, "expandable_segments:True", *named.get(CUDA_ALLOCATOR, ())])
    if is_liger_kernel_available() and on_cuda:
        support.add("use_liger_kernel", [False, True])
    else:
        support.none("use_liger_kernel", "Liger kernels need the package liger-kernel and a CUDA device")
    if SAMPLING not in names or not hasattr(trainer.train_dataset, "__len__"):
        support.none(SAMPLING, "the installed transformers has no such field, or the data set has no length")
    elif not _ends(trainer.train_dataset):
        support.none(
            SAMPLING, "a loop over the data set never ends: its __getitem__ raises no IndexError at its length"
        )
    else:
        support.add(SAMPLING, ["random", "group_by_length"])


def _ends(dataset: Any) -> bool:
    """Whether a loop over the data set ends: transformers loops to find the lengths, and hangs if it does not."""
    if hasattr(dataset, "__iter__"):
        return True
    try:
        dataset[len(dataset)]
    except Exception:  # noqa: BLE001 (an IndexError ends the loop, another error the trial)
        return True
    return False


def supported(trainer: Trainer, device: str, named: dict[str, tuple[Setting, ...]]) -> Support:
    """Ask the model, the Trainer and the installed packages about every knob.

    Args:
        trainer: as built with the user's own arguments.
        device: ``cpu`` or ``cuda``.
        named: values that the user named, to be checked beside the defaults.
    """
    support = Support()
    support.add(PRECISION, *precisions(device))
    model = unwrapped(trainer)
    if getattr(model, "supports_gradient_checkpointing", False):
        support.add(CHECKPOINTING, [False, True])
    else:
        support.none(CHECKPOINTING, f"{type(model).__name__} does not support activation checkpointing")
    support.add(OPTIMIZER, *optimizers(trainer, named.get(OPTIMIZER, ())))
    support.add(ATTENTION, *attentions(model, device, named.get(ATTENTION, ())))
    _add_field_knobs(support, trainer, device, named)
    for knob, values in named.items():
        if knob not in support.values and installed_name(knob):
            support.add(knob, values)
    return support
