"""What is predicted for a candidate on a GPU: bytes by part, seconds by part, with how far off it may be."""

from pydantic import Field

from perftune.records.base import Record
from perftune.records.candidate import Candidate
from perftune.records.gpu import Gpu


class MemoryHolder(Record):
    """One of the largest holders of memory at the peak."""

    module: str
    """Name in the model; empty where it is not known, as in the backward pass."""
    operator: str
    num_bytes: int


class MemoryEstimate(Record):
    """Peak memory of one GPU, by the three figures that tools show."""

    allocated_bytes: int
    """``torch.cuda.max_memory_allocated``."""
    reserved_bytes: int | None
    """``torch.cuda.max_memory_reserved``; None where memory runs out."""
    device_bytes: int | None
    """What nvidia-smi shows: reserved and the context; None where memory runs out."""
    parts: dict[str, int]
    """parameters, buffers, gradients, optimizer_state, activations, temporaries, optimizer_temporaries and workspaces
    add up to `allocated_bytes`; fragmentation and context come on top."""
    holders: tuple[MemoryHolder, ...] = ()
    """Of activations and temporaries, largest first."""
    paged_bytes: int = 0
    """Optimizer state that the driver moves between GPU and CPU, in no figure of torch."""
    num_alloc_retries: int = 0
    """How often the allocator had to give memory back to go on: slow where it is not 0."""
    error_band: float
    """Nine of ten predictions like it are off by less than this part of what is measured, by the validation."""
    outside: tuple[str, ...] = ()
    """What no published measurement is like, such as ``on Blackwell``; the band is wider for it."""


class TimeEstimate(Record):
    """One optimizer step."""

    step_seconds: float
    forward_seconds: float
    backward_seconds: float
    optimizer_seconds: float
    communication_seconds: float = 0.0
    """That no computation hides."""
    samples_per_second: float
    """Of all GPUs together."""
    tokens_per_second: float | None
    """Without padding."""
    mfu: float | None
    """FLOPs of forward and backward without recomputation, over step seconds × dense peak of the dtype of most."""
    is_host_bound: bool
    """Launching takes longer than computing: a larger micro-batch costs nothing."""
    error_band: float
    outside: tuple[str, ...] = ()
    """Both as in `MemoryEstimate`."""


class Estimate(Record):
    """One candidate on one GPU."""

    gpu: str
    candidate: Candidate
    fits: bool
    """Within the GPU's memory, less the headroom."""
    memory: MemoryEstimate
    time: TimeEstimate | None
    cost_per_million_samples: float | None = None


class LargestBatch(Record):
    """The largest micro-batch that fits, of one combination of the other knobs; not bound to the global batch."""

    gpu: str
    candidate: Candidate
    """With that micro-batch; None fits: with 1."""
    micro_batch: int | None
    memory: MemoryEstimate
    """Of that micro-batch."""


class Plan(Record):
    """Everything that was asked."""

    name: str
    gpus: tuple[Gpu, ...]
    num_devices: int
    sharding: str
    global_batch_size: int
    headroom: float
    base: Candidate
    """The user's own settings."""
    model_class: str
    num_parameters: int
    num_trainable_parameters: int
    num_tokens: int
    """Of the longest sample."""
    mean_num_tokens: float | None
    estimates: tuple[Estimate, ...]
    largest: tuple[LargestBatch, ...] = ()
    """Where it was asked for."""
    notes: tuple[str, ...] = ()
    trace_seconds: float = Field(ge=0)
    """What the traces took."""
