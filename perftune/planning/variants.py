"""Candidates to the variants that decide the shapes of their steps: those of one variant share a trace."""

from typing import NamedTuple

from perftune.records.candidate import ATTENTION, CHECKPOINTING, MICRO_BATCH, OPTIMIZER, PRECISION, Candidate
from perftune.records.device import Device

FLASH_FROM = (8, 0)
"""Compute capability from which attention has a flash kernel (aten/src/ATen/native/transformers/cuda/sdp_utils.cpp)."""
EAGER, SDPA = "eager", "sdpa"
HALF = ("bf16", "fp16")
KNOBS = (MICRO_BATCH, PRECISION, CHECKPOINTING, OPTIMIZER, ATTENTION)
"""What a trace can tell of."""


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
