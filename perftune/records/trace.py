"""What one training step asks of a GPU, read off shapes: allocations and frees in order, and the work of each operator.

A tape is linear: it can be replayed through an allocator, timed by a roofline, and, since sizes grow evenly with the
micro-batch, computed for sizes that were not traced (see `perftune.plan.tapes`).
"""

from typing import Any, Literal

from pydantic import Field

from perftune.records.base import Record, Setting
from perftune.records.trial import Failure, WorkloadSource

FORWARD, BACKWARD, OPTIMIZER = "forward", "backward", "optimizer"
"""Phases of an operator."""


class Ops(Record):
    """The operators that run kernels, in order; one entry an operator in each column."""

    names: tuple[str, ...] = ()
    """Every name that occurs, once."""
    name: tuple[int, ...] = ()
    """Index into `names`."""
    dtype: tuple[str, ...] = ()
    """Of the arithmetic: fp32, fp16, bf16, or another torch name."""
    flops: tuple[float, ...] = ()
    """Floating-point operations of matrix products, convolutions and attention; 0 for all others."""
    num_bytes: tuple[float, ...] = ()
    """Read and written, each tensor once."""


class Tape(Record):
    """Allocations, frees and operators of one stretch of training."""

    sizes: tuple[float, ...] = ()
    """Bytes asked for, by allocation, in order."""
    op: tuple[int, ...] = ()
    """Operator that made each allocation: index into `ops`, -1 where none did."""
    modules: tuple[str, ...] = ()
    """Every module name that occurs, once."""
    module: tuple[int, ...] = ()
    """Module that was running at each allocation: index into `modules`."""
    events: tuple[int, ...] = ()
    """In order: ``n + 1`` makes allocation n, ``-(n + 1)`` frees it."""
    marks: dict[str, int] = Field(default_factory=dict)
    """Name of a moment -> number of events before it."""
    gradients: tuple[int, ...] = ()
    """Allocations that hold gradients of parameters."""
    ops: Ops = Ops()
    op_marks: dict[str, int] = Field(default_factory=dict)
    """Name of a moment -> number of operators before it."""


class TraceRequest(Record):
    """What the child process is asked to trace; ``request.json``."""

    workload: WorkloadSource
    arguments: dict[str, Any]
    """TrainingArguments fields of one variant; the micro-batch stands in `micro_batches`."""
    attn_implementation: str | None = None
    micro_batches: tuple[int, ...]
    """Sizes to trace, ascending."""
    optimizers: tuple[str, ...] = ()
    """Values of ``optim`` to trace the step of."""
    sample_indices: tuple[int, ...] = ()
    """The heaviest samples of the data, heaviest first."""
    has_flash_attention: bool = True
    """Whether scaled_dot_product_attention has the flash kernel on the GPU that is meant (compute capability ≥ 8.0)."""
    semantics: Literal["cuda", "cpu"] = "cuda"
    """Whose allocations are traced; those of the CPU can be compared with a real run anywhere."""
    environment: dict[str, str] = Field(default_factory=dict)
    deadline_seconds: float = 600.0


class TracedStep(Record):
    """Two micro-steps of one micro-batch: the first makes the gradients, the second adds to them."""

    micro_batch: int
    tape: Tape
    num_tokens: int
    """Without padding, of the heaviest micro-batch."""
    num_padded_tokens: int


class TracedOptimizer(Record):
    """Two optimizer steps: the first makes the state, the second finds it. Clipping of gradients included."""

    optim: str
    tape: Tape | None
    paged_bytes: int = 0
    """State in memory that the CPU and the GPU share, outside the caching allocator."""
    reason: str | None = None
    """Why there is no tape."""


class Trace(Record):
    """One variant (precision, checkpointing, attention) of a workload."""

    parameter_bytes: tuple[int, ...]
    """Of each parameter, tied ones once."""
    buffer_bytes: tuple[int, ...]
    num_parameters: int
    num_trainable_parameters: int
    trainable_bytes: int
    steps: tuple[TracedStep, ...]
    optimizers: tuple[TracedOptimizer, ...]
    is_reentrant: bool = False
    """Whether blocks are checkpointed by a backward pass within the backward pass (``use_reentrant``)."""
    settings: dict[str, Setting] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


class TraceResult(Record):
    """What the child writes; exactly one of the two is there."""

    trace: Trace | None = None
    failure: Failure | None = None
