"""An optimizer by its name to the tape of its steps: made by the Trainer, stepped on fake parameters and gradients."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from transformers.training_args import OptimizerNames

from perftune.records.trace import TracedOptimizer
from perftune.tracing.tracer import Tracer

PAGED_FROM = 100_000
"""Elements from which bitsandbytes keeps a state in paged memory (``Optimizer8bit.get_state_buffer``)."""
COMPILED = {"adamw_torch_4bit": 0.5, "adamw_torch_8bit": 1.0}
"""torchao's AdamW: bytes of each of its two states an element, beside the scales; its step is compiled, one parameter
at a time, and holds nothing in between (torchao/optim/adam.py)."""
COMPILED_BLOCK = {"adamw_torch_4bit": 128, "adamw_torch_8bit": 256}
SMALLEST_QUANTISED = 4096
"""torchao quantises states of parameters with at least so many elements, in whole blocks."""


def traced_optimizer(tracer: Tracer, name: str) -> TracedOptimizer:
    """Two steps; what cannot be traced has a reason instead of a tape."""
    trainer, recorder = tracer.trainer, tracer.recorder
    trainable = [p for p in tracer.parameters if p.requires_grad]
    grads = [_fake_grad(tracer, p) for p in trainable]
    for p, grad in zip(trainable, grads, strict=True):
        recorder.hold(grad)
        p.grad = grad
    trainer.args.optim = OptimizerNames(name)
    trainer.optimizer = None
    try:
        if name in COMPILED:
            return TracedOptimizer(optim=name, tape=_compiled(tracer, name, trainable))
        optimizer: Any = trainer.create_optimizer()
        _as_on_cuda(optimizer)
        with _paged(name) as paged, recorder, torch.no_grad():
            for number in range(2):
                recorder.mark(f"clip_{number}")
                if trainer.args.max_grad_norm:
                    torch.nn.utils.clip_grad_norm_(trainable, trainer.args.max_grad_norm, foreach=True)
                recorder.mark(f"step_{number}")
                optimizer.step()
                recorder.mark(f"step_{number}_ends")
        return TracedOptimizer(optim=name, tape=recorder.cut(), paged_bytes=sum(paged))
    except (RuntimeError, NotImplementedError, ImportError, ValueError) as error:
        recorder.cut()
        return TracedOptimizer(optim=name, tape=None, reason=str(error).split("\n")[0])
    finally:
        optimizer = trainer.optimizer = None
        for p in trainable:
            p.grad = None
        recorder.cut()


def _fake_grad(tracer: Tracer, parameter: torch.Tensor) -> torch.Tensor:
    with tracer.mode:
        return torch.empty(parameter.shape, dtype=parameter.dtype)


def _as_on_cuda(optimizer: Any) -> None:
    """Torch steps all parameters together on CUDA unless asked otherwise (``_default_to_fused_or_foreach``)."""
    for group in optimizer.param_groups:
        if "foreach" in group and group["foreach"] is None and not group.get("fused"):
            group["foreach"] = True


@contextmanager
def _paged(name: str) -> Iterator[list[int]]:
    """Paged states lie outside the caching allocator: they are counted apart."""
    held: list[int] = []
    if "paged" not in name:
        yield held
        return
    from bitsandbytes.optim import optimizer as bnb

    def buffer(_: Any, p: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        if p.numel() < PAGED_FROM:
            return torch.zeros_like(p, dtype=dtype)
        held.append(p.numel() * dtype.itemsize)
        return torch.empty(0, dtype=dtype)

    with mock.patch.object(bnb.Optimizer8bit, "get_state_buffer", buffer):
        yield held


def _compiled(tracer: Tracer, name: str, trainable: list[torch.Tensor]) -> Any:
    recorder = tracer.recorder
    states = []
    with recorder, tracer.mode:
        for number in range(2):
            recorder.mark(f"clip_{number}")
            recorder.mark(f"step_{number}")
            for p in trainable:
                block = COMPILED_BLOCK[name]
                small = p.numel() < SMALLEST_QUANTISED or p.numel() % block
                if number == 0:
                    size = 4 * p.numel() if small else int(COMPILED[name] * p.numel()) + 4 * p.numel() // block
                    states += [torch.empty(size, dtype=torch.uint8) for _ in range(2)]
                each = 4 if small else COMPILED[name]
                recorder.note("torchao::adamw", torch.float32, 0, p.numel() * (3 * p.element_size() + 4 * each))
            recorder.mark(f"step_{number}_ends")
        return recorder.cut()
