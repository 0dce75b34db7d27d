"""A trace request to the user's Trainer on fake tensors, ready to have one of its steps recorded. Child side."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import Trainer

from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH
from perftune.records.trace import TracedStep, TraceRequest
from perftune.tracing.cuda_semantics import CpuSemantics, CudaSemantics
from perftune.tracing.packed import pack
from perftune.tracing.recorder import Recorder
from perftune.tracing.weightless import materialise, weightless
from perftune.workloads.arguments import installed_name, training_arguments
from perftune.workloads.batch_size import batch_size
from perftune.workloads.loading import build_trainer
from perftune.workloads.worst_batch import collate_worst, train_source


class Tracer:
    """One workload, built and on fake tensors."""

    def __init__(self, request: TraceRequest, directory: Path) -> None:
        self.request = request
        arguments = {**request.arguments, MICRO_BATCH: request.micro_batches[0]}
        args = training_arguments(arguments, directory, "cpu")
        with weightless():
            self.trainer = build_trainer(request.workload, args, request.attn_implementation)
        self.model = cast("Any", self.trainer.model)
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        _enable_checkpointing(self.trainer)
        self.recorder = Recorder(is_cuda=request.semantics == "cuda")
        scales = pack(self.model, self.mode, self.recorder)
        self.parameters, self.buffers = materialise(self.model, self.mode)
        self.buffers += scales
        self.trainer.current_gradient_accumulation_steps = cast("Any", args.gradient_accumulation_steps)
        for tensor in (*self.parameters, *self.buffers):
            self.recorder.hold(tensor)
        self.wrapped = self.trainer.accelerator.prepare_model(self.model, device_placement=False)

    def step(self, micro_batch: int) -> TracedStep:
        """Two micro-steps at one micro-batch."""
        batches = [self._batch(micro_batch) for _ in range(2)]
        size = batch_size(batches[0])
        num_items = self.trainer._get_num_items_in_batch(batches, torch.device("cpu"))  # noqa: SLF001 (as Trainer does)
        recorder = self.recorder
        with self._traced():
            for number, batch in enumerate(batches):
                recorder.mark(f"micro_{number}")
                recorder.arrive(batch)
                self.trainer.training_step(self.wrapped, batch, num_items)
                recorder.mark(f"micro_{number}_ends")
            grads = [p.grad for p in self.parameters if p.grad is not None]
            numbers = [recorder.allocation(grad) for grad in grads]
            del grads, batch
            self.model.zero_grad()
        tape = recorder.cut()
        for p in self.parameters:
            p.grad = None
        held = tuple(number for number in numbers if number is not None)
        return TracedStep(
            micro_batch=micro_batch,
            tape=tape.model_copy(update={"gradients": held}),
            num_tokens=size.num_tokens,
            num_padded_tokens=size.num_padded_tokens,
        )

    def _batch(self, micro_batch: int) -> Any:
        source = train_source(self.trainer)
        return collate_worst(source, self.request.sample_indices or (0,), micro_batch)

    @contextmanager
    def _traced(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            stack.enter_context(module_names(self.model, self.recorder))
            stack.enter_context(self.recorder)
            semantics = CudaSemantics if self.request.semantics == "cuda" else CpuSemantics
            mode = semantics(self.recorder, has_flash_attention=self.request.has_flash_attention)
            stack.enter_context(mode.in_backward())
            stack.enter_context(mode)
            yield


def _enable_checkpointing(trainer: Trainer) -> None:
    """As ``Trainer.train`` does before it prepares the model (transformers 5)."""
    args, model = cast("Any", trainer.args), cast("Any", trainer.model)
    if not getattr(args, installed_name(CHECKPOINTING)):
        return
    kwargs = _checkpointing_kwargs(args)
    for name in ("activation_checkpointing", "gradient_checkpointing"):
        if hasattr(model, f"{name}_enable"):
            getattr(model, f"{name}_enable")(**{f"{name}_kwargs": kwargs})
            return


def _checkpointing_kwargs(args: Any) -> dict[str, Any]:
    return {"use_reentrant": False, **(getattr(args, installed_name(f"{CHECKPOINTING}_kwargs")) or {})}


def is_reentrant(args: Any) -> bool:
    """Whether checkpointed blocks run anew inside of autograd's own backward."""
    return bool(getattr(args, installed_name(CHECKPOINTING)) and _checkpointing_kwargs(args)["use_reentrant"])


@contextmanager
def module_names(model: torch.nn.Module, recorder: Recorder) -> Iterator[None]:
    """Tell the recorder which module runs."""
    names = {id(module): name for name, module in model.named_modules()}
    stack = recorder.module_names

    def enters(module: torch.nn.Module, _: Any) -> None:
        stack.append(names.get(id(module), stack[-1]))

    def leaves(module: torch.nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001 (torch's)
        stack.pop()

    hooks = torch.nn.modules.module
    handles = [
        hooks.register_module_forward_pre_hook(enters),
        hooks.register_module_forward_hook(leaves, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        del stack[1:]
