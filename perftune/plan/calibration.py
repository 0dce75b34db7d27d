"""The constants of prediction that no data sheet states: few, physical, each with what it was fitted on.

No constant belongs to a model or to a measurement. `benchmarks/validation/README.md` shows what they give, row by row.
"""

from typing import NamedTuple

from perftune.units import MIB


class Efficiency(NamedTuple):
    """What a generation of GPUs reaches of the peaks that its data sheet states."""

    matmul: dict[str, float]
    """Dtype -> part of the dense peak in large matrix products."""
    attention: float
    """Part of the dense peak in fused attention."""
    bandwidth: float
    """Part of the memory bandwidth in kernels that only move data."""


EFFICIENCY: dict[str, Efficiency] = {
    "turing": Efficiency({"fp32": 0.85, "fp16": 0.45}, 0.25, 0.80),
    "volta": Efficiency({"fp32": 0.85, "fp16": 0.65}, 0.30, 0.80),
    "ampere": Efficiency({"fp32": 0.85, "tf32": 0.70, "fp16": 0.72, "bf16": 0.72}, 0.50, 0.82),
    "ada": Efficiency({"fp32": 0.70, "tf32": 0.70, "fp16": 0.70, "bf16": 0.70}, 0.50, 0.82),
    "hopper": Efficiency({"fp32": 0.80, "tf32": 0.60, "fp16": 0.62, "bf16": 0.62}, 0.35, 0.82),
    "blackwell": Efficiency({"fp32": 0.75, "tf32": 0.60, "fp16": 0.62, "bf16": 0.62}, 0.35, 0.82),
    "cdna3": Efficiency({"fp32": 0.60, "tf32": 0.45, "fp16": 0.45, "bf16": 0.45}, 0.30, 0.75),
}
KERNEL_SECONDS = 2.5e-6
"""What a kernel takes beside its work: ramp-up and the gap to the next."""
HOST_FORWARD_SECONDS = 14e-6
"""What Python, autograd and the dispatcher take for an operator of the forward pass; the GPU waits where that is longer
than the kernels."""
HOST_BACKWARD_SECONDS = 7e-6
"""The same for an operator of the backward pass and of the optimizer, which run in C++."""
CONTEXT_BYTES: dict[str, int] = {
    "turing": 150 * MIB, "volta": 400 * MIB, "ampere": 500 * MIB, "ada": 450 * MIB, "hopper": 560 * MIB,
    "blackwell": 700 * MIB, "cdna3": 700 * MIB,
}  # fmt: skip
"""What nvidia-smi shows beside the allocator's segments: context, kernels, libraries."""
WORKSPACE_BYTES: dict[str, int] = {"hopper": 32 * MIB, "blackwell": 32 * MIB}
"""cuBLAS workspace of one handle, from the caching allocator: 32 MiB from Hopper on, else `WORKSPACE_BYTES_BEFORE`
(aten/src/ATen/cuda/CublasHandlePool.cpp, ``parseChosenWorkspaceSize``)."""
WORKSPACE_BYTES_BEFORE = 8 * MIB + 128 * 1024
NUM_HANDLES = 2
"""The forward pass and the thread of the backward pass have a handle each."""


def workspace_bytes(architecture: str) -> tuple[int, ...]:
    """The workspaces of a training process."""
    return (WORKSPACE_BYTES.get(architecture, WORKSPACE_BYTES_BEFORE),) * NUM_HANDLES


ERROR_BANDS: dict[tuple[str, bool], float] = {
    ("memory", False): 0.12, ("memory", True): 0.25, ("time", False): 0.30, ("time", True): 0.40,
}  # fmt: skip
"""What is predicted, and whether on several GPUs -> the part within which nine of ten validated rows lie."""


def error_band(what: str, on_several: bool) -> float:
    """How far off a prediction may be, by the validation."""
    return ERROR_BANDS[what, on_several]
