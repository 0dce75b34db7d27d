"""A trace request to a trace: the user's Trainer, built without weights, through its own training step on shapes alone.

Protocol: ``request.json`` holds a `TraceRequest`; ``result.json`` a `TraceResult`. Two micro-steps are traced for each
micro-batch (the first makes the gradients, the second adds to them) and two steps of each optimizer, so that the plan
can put together any number of accumulation steps with any optimizer.
"""

import gc
import os
import shutil
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from transformers import Trainer

import perftune
from perftune.devices import training_device
from perftune.errors import WorkloadError
from perftune.files import write_atomically
from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH
from perftune.records.trace import Trace, TracedOptimizer, TracedStep, TraceRequest, TraceResult
from perftune.trials.arguments import installed_name, training_arguments
from perftune.trials.batches import batch_size
from perftune.trials.child import SILENT, describe_failure
from perftune.trials.tracing.cuda_semantics import CpuSemantics, CudaSemantics
from perftune.trials.tracing.optimizers import traced_optimizer
from perftune.trials.tracing.packed import pack
from perftune.trials.tracing.recorder import Recorder
from perftune.trials.tracing.weightless import materialise, weightless
from perftune.trials.workload import build_trainer
from perftune.trials.worst_batch import collate_worst, train_source

CANNOT = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException)
"""What fake tensors raise where a value is needed and only its shape is known."""


NOT_THE_USERS = (
    str(Path(perftune.__file__).parent),
    *{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")},
)
"""Where files lie that nobody has written for a workload; perftune's own first."""


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

    def optimizer(self, name: str) -> TracedOptimizer:
        """Two steps of an optimizer, with gradients that are there already."""
        return traced_optimizer(self, name)

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


def _is_reentrant(args: Any) -> bool:
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


def trace(request: TraceRequest, directory: Path) -> Trace:
    """Trace a workload.

    Raises:
        WorkloadError: it cannot be built, or its step reads values, which shapes do not have; says in which line.
    """
    torch.set_num_threads(1)  # next to nothing is computed
    tracer = Tracer(request, directory)
    gc.collect()
    gc.disable()  # when a cycle is found must not depend on how much Python has allocated
    try:
        steps = tuple(tracer.step(micro_batch) for micro_batch in request.micro_batches)
        optimizers = tuple(tracer.optimizer(name) for name in request.optimizers)
    except CANNOT as error:
        raise WorkloadError(_why_not(error, request)) from error
    finally:
        gc.enable()
    trainable = [p for p in tracer.parameters if p.requires_grad]
    return Trace(
        parameter_bytes=tuple(p.numel() * p.element_size() for p in tracer.parameters),
        buffer_bytes=tuple(b.numel() * b.element_size() for b in tracer.buffers),
        num_parameters=sum(p.numel() for p in tracer.parameters),
        num_trainable_parameters=sum(p.numel() for p in trainable),
        trainable_bytes=sum(p.numel() * p.element_size() for p in trainable),
        steps=steps,
        optimizers=optimizers,
        is_reentrant=_is_reentrant(tracer.trainer.args),
    )


def _why_not(error: BaseException, request: TraceRequest) -> str:
    """Name the last line of the user's that ran, or else the last one outside torch."""
    lines = []
    frame = error.__traceback__
    while frame is not None:
        lines.append((frame.tb_frame.f_code.co_filename, frame.tb_lineno))
        frame = frame.tb_next
    own = str(request.workload.build or "").rpartition(":")[0]
    users = [line for line in lines if line[0] == own or not line[0].startswith(("<", *NOT_THE_USERS))]
    libraries = [line for line in lines if "/torch/" not in line[0] and not line[0].startswith(NOT_THE_USERS[:1])]
    path, number = (users or libraries or lines)[-1]
    return (
        f"{path}, line {number}: reads the value of a tensor ({type(error).__name__}: {error}), and a plan knows "
        "shapes only. Measure it with `perftune probe`, or leave that line out while planning"
    )


def execute(directory: Path) -> None:
    """Trace the workload whose request lies in a folder."""
    request = TraceRequest.model_validate_json((directory / "request.json").read_text(encoding="utf-8"))
    os.environ.update(SILENT)
    os.chdir(request.workload.working_directory)
    try:
        result = TraceResult(trace=trace(request, directory))
    except BaseException as error:  # noqa: BLE001 (whatever the user's code raises is told to the parent)
        result = TraceResult(failure=describe_failure(error, training_device("cpu")))
    finally:
        shutil.rmtree(directory / "output", ignore_errors=True)
    write_atomically(directory / "result.json", result.model_dump_json())
