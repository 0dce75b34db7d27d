"""What `plan` and the prior of `probe` trace: which candidates share a trace, and the request of one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from perftune.errors import WorkloadError
from perftune.isolation.protocol import PRELOAD_TO_TRACE
from perftune.isolation.runner import ForkServerRunner
from perftune.plan import Variant
from perftune.records.candidate import (
    ATTENTION,
    CHECKPOINTING,
    MICRO_BATCH,
    OPTIMIZER,
    PRECISION,
    Candidate,
)
from perftune.records.device import Device
from perftune.records.probe import ProbeSpec
from perftune.records.survey import Survey
from perftune.records.trace import Trace, TracedOptimizer, TraceRequest
from perftune.spec import workload_source

TRACED_SIZES = (1, 2, 4)
"""Micro-batches that are traced, as far as the global batch has them; every other follows from the two largest."""
MORE_SIZES = (1, 2, 4, 8, 16)
"""Where those two do not do the same: a micro-batch of equally long samples has no mask, and a larger one has."""
FLASH_FROM = (8, 0)
"""Compute capability from which attention has a flash kernel (aten/src/ATen/native/transformers/cuda/sdp_utils.cpp)."""
EAGER, SDPA = "eager", "sdpa"
HALF = ("bf16", "fp16")
KNOBS = (MICRO_BATCH, PRECISION, CHECKPOINTING, OPTIMIZER, ATTENTION)
"""What a trace can tell of."""


class TracingRunner(Protocol):
    """What traces."""

    def trace(self, request: TraceRequest, number: int) -> Trace:
        """Trace one variant."""


def tracing_runner(directory: Path) -> ForkServerRunner:
    """Traces in processes that have fake tensors loaded."""
    return ForkServerRunner(directory, preload=PRELOAD_TO_TRACE)


class VariantKey(NamedTuple):
    """What decides the shapes of a step."""

    is_half: bool
    checkpointing: bool
    attention: str | None
    has_flash: bool

    @property
    def title(self) -> str:
        """For people."""
        parts = [
            "half precision" if self.is_half else "fp32",
            "checkpointing" if self.checkpointing else "",
            self.attention or "",
        ]
        return ", ".join(part for part in parts if part)


def variant_key(candidate: Candidate, device: Device) -> VariantKey:
    """Candidates with the same key share a trace.

    On CUDA bf16 and fp16 have the same shapes, and so have fp32 and tf32; the CPU has one half precision, and no flash
    kernel of its own. FlashAttention's own package does what PyTorch's flash kernel does, which AMD's builds have too.
    """
    on_cuda, capability = device.kind == "cuda", device.compute_capability
    precision, attention = candidate.settings.get(PRECISION), candidate.settings.get(ATTENTION)
    return VariantKey(
        is_half=precision in HALF if on_cuda else precision == "bf16",
        checkpointing=candidate.settings.get(CHECKPOINTING) is True,
        attention=None if attention is None else EAGER if attention == EAGER else SDPA,
        has_flash=on_cuda and attention != EAGER and (capability is None or capability >= FLASH_FROM),
    )


def trace_variants(
    probe: ProbeSpec,
    survey: Survey,
    groups: Mapping[VariantKey, Sequence[Candidate]],
    runner: TracingRunner,
    kind: str,
    may_begin: Callable[[int, VariantKey], bool],
) -> dict[VariantKey, Variant | str]:
    """Trace one variant after the other; why not, where it cannot be traced.

    Args:
        probe: what trains.
        survey: of it.
        groups: the candidates of each variant.
        runner: what traces.
        kind: of the device whose rules hold, ``cuda`` or ``cpu``.
        may_begin: is told the number and the key of what comes next; False ends it.
    """
    found: dict[VariantKey, Variant | str] = {}
    optimizers = tuple(dict.fromkeys(str(c.settings[OPTIMIZER]) for members in groups.values() for c in members))
    known: tuple[TracedOptimizer, ...] = ()
    for number, (key, candidates) in enumerate(groups.items()):
        if not may_begin(number, key):
            break
        for sizes in (TRACED_SIZES, MORE_SIZES):
            request = trace_request(probe, survey, key, candidates, sizes)
            update = {"optimizers": () if known else optimizers, "semantics": kind}
            try:
                trace = runner.trace(request.model_copy(update=update), number)
            except WorkloadError as error:
                found[key] = str(error)
                break
            known = known or trace.optimizers  # what an optimizer does depends on the parameters, which are the same
            variant = found[key] = Variant(trace.model_copy(update={"optimizers": known}))
            if variant.tapes.cover(candidate.micro_batch for candidate in candidates):
                break
    return found


def trace_request(
    probe: ProbeSpec,
    survey: Survey,
    key: VariantKey,
    candidates: Iterable[Candidate],
    traced_sizes: Sequence[int] = TRACED_SIZES,
) -> TraceRequest:
    """The request of one variant."""
    known = sorted({candidate.micro_batch for candidate in candidates})
    largest = known[-1]
    sizes = known if largest in traced_sizes else [size for size in traced_sizes if size < largest]
    arguments: dict[str, Any] = {
        **probe.training_arguments,
        "bf16": key.is_half,
        "fp16": False,
        "tf32": None,
        CHECKPOINTING: key.checkpointing,
        "gradient_accumulation_steps": 2,
        "torch_compile": False,
    }
    return TraceRequest(
        workload=workload_source(probe),
        arguments=arguments,
        attn_implementation=key.attention,
        micro_batches=tuple(sizes),
        sample_indices=tuple(sample.index for sample in survey.worst_samples[: max(sizes)]),
        has_flash_attention=key.has_flash,
    )
