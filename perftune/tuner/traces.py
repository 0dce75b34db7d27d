"""What `plan` and the prior of `probe` trace: which candidates share a trace, and the request of one."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from perftune.records.candidate import (
    ATTENTION,
    CHECKPOINTING,
    MICRO_BATCH,
    OPTIMIZER,
    PRECISION,
    Candidate,
)
from perftune.records.probe import ProbeSpec
from perftune.records.survey import Survey
from perftune.records.trace import TraceRequest
from perftune.trials.protocol import PRELOAD_TO_TRACE
from perftune.trials.runner import ForkServerRunner
from perftune.tuner.requests import workload_source

TRACED_SIZES = (1, 2, 4)
"""Micro-batches that are traced, as far as the global batch has them; every other follows from the two largest."""
FLASH_FROM = (8, 0)
"""Compute capability from which attention has a flash kernel (aten/src/ATen/native/transformers/cuda/sdp_utils.cpp)."""
EAGER, SDPA = "eager", "sdpa"
HALF = ("bf16", "fp16")
KNOBS = (MICRO_BATCH, PRECISION, CHECKPOINTING, OPTIMIZER, ATTENTION)
"""What a trace can tell of."""


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


def attention_of(candidate: Candidate) -> str | None:
    """The implementation that is traced: FlashAttention's own package does what PyTorch's flash kernel does."""
    attention = candidate.settings.get(ATTENTION)
    return None if attention is None else EAGER if attention == EAGER else SDPA


def flash_of(compute_capability: tuple[int, int] | None) -> bool:
    """Whether attention without a mask runs in the flash kernel; AMD's builds of torch have one."""
    return compute_capability is None or compute_capability >= FLASH_FROM


def trace_request(probe: ProbeSpec, survey: Survey, key: VariantKey, candidates: Iterable[Candidate]) -> TraceRequest:
    """The request of one variant."""
    members = list(candidates)
    known = sorted({candidate.micro_batch for candidate in members})
    largest = known[-1]
    sizes = known if largest in TRACED_SIZES else [size for size in TRACED_SIZES if size < largest]
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
