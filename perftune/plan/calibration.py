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


BANDWIDTH_EFFICIENCY = 0.70
"""Of all generations: fitted together with the constants below on the throughput of one GPU in four sources
(fitcheck-t4, milabench, hf-docs-perf-train-gpu-one, fms-acceleration; 58 rows on T4, V100, A100, L40S, H100 and
H200)."""
EFFICIENCY: dict[str, Efficiency] = {
    "turing": Efficiency({"fp32": 0.45, "fp16": 0.28}, 0.24, BANDWIDTH_EFFICIENCY),
    "volta": Efficiency({"fp32": 0.83, "fp16": 0.52}, 0.30, BANDWIDTH_EFFICIENCY),
    "ampere": Efficiency({"fp32": 0.83, "tf32": 0.68, "fp16": 0.68, "bf16": 0.68}, 0.70, BANDWIDTH_EFFICIENCY),
    "ada": Efficiency({"fp32": 0.80, "tf32": 0.80, "fp16": 0.80, "bf16": 0.80}, 0.47, BANDWIDTH_EFFICIENCY),
    "hopper": Efficiency({"fp32": 0.80, "tf32": 0.52, "fp16": 0.52, "bf16": 0.52}, 0.37, BANDWIDTH_EFFICIENCY),
    "blackwell": Efficiency({"fp32": 0.80, "tf32": 0.52, "fp16": 0.52, "bf16": 0.52}, 0.37, BANDWIDTH_EFFICIENCY),
    "cdna3": Efficiency({"fp32": 0.60, "tf32": 0.40, "fp16": 0.40, "bf16": 0.40}, 0.30, BANDWIDTH_EFFICIENCY),
}
"""Half precision and attention are fitted on fitcheck-t4 (Turing, 17 rows; a T4 keeps within 70 W by slowing down),
fms-acceleration (Ampere, 6), milabench (Ada 13, Hopper 15); Volta's fp32 and fp16 on hf-docs-perf-train-gpu-one (7),
Turing's fp32 on the heads in fp32 of fitcheck-t4. No row runs in TF32, in fp32 on other generations, in fused attention
on Volta, or on Blackwell or CDNA 3: these are values of neighbours, and a guess for CDNA 3."""
KERNEL_SECONDS = 7e-6
"""What a kernel takes beside its work: ramp-up, an uneven end and the gap to the next; fitted as above."""
TILE_FLOPS = 3e6
"""What a matrix product takes on each multiprocessor beyond its own FLOPs, as its last wave of tiles is not full;
fitted as above. Half a tile of 128 × 128 with 180 terms a sum."""
HOST_FORWARD_SECONDS = 48e-6
"""What Python, autograd and the dispatcher take for an operator of the forward pass; the GPU waits where that is longer
than the kernels. Fitted as above: micro-batches of one on H100 and short sequences on T4 decide it."""
HOST_BACKWARD_SECONDS = 12e-6
"""The same for an operator of the backward pass and of the optimizer, most of which run in C++; fitted as above."""
STEP_SECONDS = 6.5e-3
"""What the host does once a step while the GPU waits: next batch, loss, scaler and scheduler; fitted as above."""
OVERLAP = 0.7
"""Part of the communication that runs while there is something to compute. An assumption; no row decides it."""
LINK_EFFICIENCY = 0.75
"""What collectives reach of a link's bandwidth: NCCL's bus bandwidth against the data sheet. An assumption like it."""
COLLECTIVE_SECONDS = 1.75e-3
"""What the host takes for a unit's gather or scatter of FSDP: hooks in Python before and after every module that is a
unit, launches, and streams that wait for each other. Fitted on the two rows whose GPUs wait for the host,
fms-acceleration-110 and -114 (2 A100, 361 units)."""
CONTEXT_BYTES: dict[str, int] = {
    "turing": 141 * MIB, "volta": 400 * MIB, "ampere": 500 * MIB, "ada": 500 * MIB, "hopper": 750 * MIB,
    "blackwell": 750 * MIB, "cdna3": 700 * MIB,
}  # fmt: skip
"""What nvidia-smi shows beside the allocator's segments: context, kernels, libraries; CUDA 11.7 or later, which loads
kernels when they are used. Turing: 140.875 MiB printed by fitcheck-t4 (32 rows). Ada and Hopper: reserved memory
replayed for the smallest micro-batches of milabench (4 rows), where fragmentation is least. Ampere:
nvidia-smi beside the replayed reserved memory of fms-acceleration-097, 482 MiB; other rows leave up to 0.8 GiB. Volta,
Blackwell and CDNA 3 are guesses from their neighbours: none is in the validation with software of today."""
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
    ("memory", False): 0.10, ("memory", True): 0.20, ("time", False): 0.20, ("time", True): 0.35,
}  # fmt: skip
"""What is predicted, and whether on several GPUs -> the part within which nine of ten validated rows lie, rounded up
(benchmarks/validation/README.md). It is that of generations that were fitted to."""


def error_band(what: str, on_several: bool) -> float:
    """How far off a prediction may be, by the validation."""
    return ERROR_BANDS[what, on_several]
