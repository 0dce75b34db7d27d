"""A trace request to a trace: the user's Trainer, built without weights, through its own training step on shapes alone.

Protocol: ``request.json`` holds a `TraceRequest`; ``result.json`` a `TraceResult`. Two micro-steps are traced for each
micro-batch (the first makes the gradients, the second adds to them) and two steps of each optimizer, so that the plan
can put together any number of accumulation steps with any optimizer.
"""

import gc
import shutil
import sysconfig
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedOperatorException,
)

import perftune
from perftune.devices import training_device
from perftune.errors import WorkloadError
from perftune.files import write_atomically
from perftune.records.trace import Trace, TraceRequest, TraceResult
from perftune.tracing.optimizers import traced_optimizer
from perftune.tracing.tracer import Tracer, is_reentrant
from perftune.workloads.entry import describe_failure, enter

CANNOT = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException)
"""What fake tensors raise where a value is needed and only its shape is known."""


NOT_THE_USERS = (
    str(Path(perftune.__file__).parent),
    *{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")},
)
"""Where files lie that nobody has written for a workload; perftune's own first."""


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
        optimizers = tuple(traced_optimizer(tracer, name) for name in request.optimizers)
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
        is_reentrant=is_reentrant(tracer.trainer.args),
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
    enter(request.workload)
    try:
        result = TraceResult(trace=trace(request, directory))
    except BaseException as error:  # noqa: BLE001 (whatever the user's code raises is told to the parent)
        result = TraceResult(failure=describe_failure(error, training_device("cpu")))
    finally:
        shutil.rmtree(directory / "output", ignore_errors=True)
    write_atomically(directory / "result.json", result.model_dump_json())
