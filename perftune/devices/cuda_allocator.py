"""The ``cuda_allocator`` knob to the environment that sets it, and back. No torch: it is set before torch starts."""

from collections.abc import Mapping

NAMES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
"""What torch reads, in its order (c10/cuda/CUDAAllocatorConfig.h, torch 2.13); older versions know the first only."""

DEFAULT = "default"
"""The value of the knob that leaves the allocator as torch ships it."""


def own_setting(environment: Mapping[str, str]) -> str:
    """The value that an environment stands for; the first of the names that is there decides, as in torch."""
    return next((environment[name] for name in NAMES if name in environment), "") or DEFAULT


def allocator_environment(value: str) -> dict[str, str]:
    """The variables that make torch's CUDA allocator take a setting such as ``expandable_segments:True``.

    Both names get it, so that neither a version of torch nor a value that the user has set under the other name
    decides; ``default`` sets both to nothing, which torch reads as its defaults.
    """
    return dict.fromkeys(NAMES, "" if value == DEFAULT else value)
