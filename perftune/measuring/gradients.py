"""The first optimizer step of a Trainer to a sketch of its gradient, before it is clipped. Child side.

Before clipping is a moment that has no callback: ``on_pre_optimizer_step`` comes after it. A Trainer (5.23) calls
``_clip_grad_norm`` and then ``_get_grad_norm``; where nothing is to be clipped (``max_grad_norm`` 0) only the latter,
which clips nothing. So the gradient is read at whichever comes first; by then all micro-batches are summed, and
processes have summed theirs (DDP). Not covered: gradients that are sharded (FSDP, DeepSpeed).
"""

import contextlib
import math
import pickle
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from perftune.measuring.collective import SumOverProcesses, alone
from perftune.measuring.projection import Projection
from perftune.measuring.samples_digest import samples_digest
from perftune.records.gradients import GradientSketch, GroupSketch

MOST_GROUPS = 12
"""More are not read by anybody."""
REST = "other modules"
WRAPPERS = ("module.", "_orig_mod.", "_checkpoint_wrapped_module.", "base_model.model.")
"""What DDP, torch.compile, checkpoint wrappers and PEFT put into a parameter's name, and people do not."""
SIGNIFICANT_DIGITS = 7
"""Of a number that is kept: what a 32-bit float has."""


class FirstGradient:
    """Watches the first optimizer step of a trial and keeps what its gradient was."""

    def __init__(self, total: SumOverProcesses = alone) -> None:
        """
        Args:
            total: sums over all processes of the trial.
        """
        self.sketch: GradientSketch | None = None
        self.is_taken = False
        self._total = total
        self._digests: list[int | None] = []
        self._random_state: list[bytes] = []

    def micro_step_begins(self, inputs: Any, device: torch.device) -> None:
        """Forward begins, on these inputs."""
        if not self._digests:
            self._random_state = _random_state(device)
        self._digests.append(samples_digest(inputs))

    def take(self, trainer: Any) -> None:
        """All gradients are there and not yet clipped. Where they cannot be read, nothing is kept."""
        self.is_taken = True
        is_random = _random_state(trainer.args.device) != self._random_state
        num_unread = sum(digest is None for digest in self._digests)
        totals = self._total((num_unread, sum(digest or 0 for digest in self._digests), is_random))
        with contextlib.suppress(Exception):
            self.sketch = self._sketch(trainer, totals)

    def _sketch(self, trainer: Any, totals: Sequence[float]) -> GradientSketch | None:
        num_unread, digest, num_random = totals
        parameters = {name: p for name, p in trainer.model.named_parameters() if p.requires_grad}
        if any(hasattr(parameter, "device_mesh") for parameter in parameters.values()):
            return None
        groups = _groups(parameters, _scale(trainer))
        return GradientSketch(
            groups=groups,
            precision=_precision(trainer.args, [p.grad for p in parameters.values() if p.grad is not None]),
            num_micro_batches=len(self._digests),
            samples_digest=None if num_unread else int(digest),
            is_random=num_random > 0,
            is_finite=all(math.isfinite(group.norm) for group in groups),
        )


class FirstGradientMixin:
    """Sits before the user's class in the method resolution order; every override calls on to it."""

    perftune_first_gradient: FirstGradient
    args: Any

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Note what the first step is trained on."""
        if not self.perftune_first_gradient.is_taken:
            self.perftune_first_gradient.micro_step_begins(inputs, self.args.device)
        return super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]  # the user's class is next

    def _clip_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        self._take_first_gradient()
        return super()._clip_grad_norm(*args, **kwargs)  # type: ignore[misc]  # the user's class is next

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        self._take_first_gradient()
        return super()._get_grad_norm(*args, **kwargs)  # type: ignore[misc]  # the user's class is next

    def _take_first_gradient(self) -> None:
        if not self.perftune_first_gradient.is_taken:
            self.perftune_first_gradient.take(self)


def keep_first_gradient(trainer: Any, total: SumOverProcesses = alone) -> FirstGradient:
    """Make a Trainer one that keeps the gradient of its first optimizer step, in place.

    Args:
        trainer: before it trains.
        total: sums over all processes of the trial.

    Returns:
        What has the sketch, once that step is over.
    """
    own = type(trainer)
    trainer.__class__ = type(own.__name__, (FirstGradientMixin, own), {})
    first = trainer.perftune_first_gradient = FirstGradient(total)
    return first


def group_names(names: Sequence[str]) -> dict[str, str]:
    """Parameters by part of the model, for people: paths of modules, as deep as there are no more than a dozen.

    Layers that repeat are one part, ``encoder.layer.*``.
    """
    paths = {name: _path(name) for name in names}
    for depth in range(max(map(len, paths.values()), default=0), 0, -1):
        found = {name: ".".join(path[:depth]) for name, path in paths.items()}
        if len(set(found.values())) <= MOST_GROUPS:
            return found
    first = list(dict.fromkeys(path[0] for path in paths.values()))[: MOST_GROUPS - 1]
    return {name: path[0] if path[0] in first else REST for name, path in paths.items()}


def _path(name: str) -> list[str]:
    """The modules that lead to a parameter; one that belongs to the model itself is its own."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "") if wrapper.startswith("_") else name.removeprefix(wrapper)
    modules = name.split(".")[:-1] or [name]
    return ["*" if module.isdigit() else module for module in modules]


def _groups(named: Mapping[str, torch.nn.Parameter], scale: float) -> tuple[GroupSketch, ...]:
    """The sketch of each part, one after the other."""
    members: dict[str, list[str]] = {}
    for name, group in group_names(list(named)).items():
        members.setdefault(group, []).append(name)
    return tuple(_group(group, {name: named[name] for name in names}, scale) for group, names in members.items())


def _group(group: str, parameters: Mapping[str, torch.nn.Parameter], scale: float) -> GroupSketch:
    """Of one part. A parameter without gradient counts as one whose gradient is zero."""
    projection = Projection(next(iter(parameters.values())).device)
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            projection.add(name, parameter.grad)
    return GroupSketch(
        name=group,
        num_parameters=sum(parameter.numel() for parameter in parameters.values()),
        norm=_rounded(projection.norm() / scale),
        projection=tuple(_rounded(value / scale) for value in projection.sums()),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def _scale(trainer: Any) -> float:
    """What the loss was multiplied by, so that fp16 does not lose small gradients; clipping would divide by it."""
    scaler = getattr(trainer.accelerator, "scaler", None)
    return float(scaler.get_scale()) if scaler is not None and scaler.is_enabled() else 1.0


def _precision(args: Any, gradients: Sequence[torch.Tensor]) -> str:
    """The coarsest precision that took part."""
    types = {gradient.dtype for gradient in gradients}
    if args.bf16 or torch.bfloat16 in types:
        return "bf16"
    if args.fp16 or torch.float16 in types:
        return "fp16"
    return "tf32" if args.tf32 else "fp32"


def _random_state(device: torch.device) -> list[bytes]:
    """Where the random numbers are that a step may draw, on the host and on the device."""
    states = [torch.get_rng_state()]
    if device.type != "cpu":
        states.append(torch.get_device_module(device).get_rng_state(device))
    on_host = (random.getstate(), np.random.get_state())  # noqa: NPY002 (what models draw from)
    return [*(state.numpy().tobytes() for state in states), pickle.dumps(on_host)]
