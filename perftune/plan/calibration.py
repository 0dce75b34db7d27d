"""The constants of prediction that no data sheet states: few, physical, each with what it was fitted on.

No constant belongs to a model or to a measurement. `benchmarks/validation/README.md` shows what they give, row by row.
"""

import math
from dataclasses import dataclass

from perftune.units import MIB


@dataclass(frozen=True)
class TimeConstants:
    """What decides the speed of all GPUs alike, beside their data sheets.

    `benchmarks/validation/fit.py` finds them from the throughput of one GPU in five sources (fitcheck-t4,
    fms-acceleration, hf-docs-perf-train-gpu-one, milabench, qwen-readme; 106 rows on T4, V100, A100, L40S, H100 and
    H200) and holds each near what physics makes likely (its ``PRIORS``).
    """

    peak_part: float = 0.90
    """Part of the dense peak that large matrix products reach where power is enough."""
    joules_per_flop: float = 1.40e-12
    """Energy of one FLOP of a product in half precision on a 7 nm chip, with everything that it takes to feed it."""
    node_exponent: float = 1.34
    """That energy grows with the process in nanometres to this power. Fitted little: the foundry says 30 to 40 % less
    power from 7 to 5 nm, which is 1.1 to 1.5 (https://www.tsmc.com/english/dedicatedFoundry/technology/5nm.htm)."""
    fp32_energy: float = 5.45
    """Energy of a FLOP in fp32 on ordinary cores over that in half precision on tensor cores."""
    other_watts: float = 8.0
    """Power of a board that does not go into arithmetic; it counts where there are 70 W in all."""
    attention_part: float = 0.635
    """Rate of fused attention over that of large matrix products."""
    bandwidth_part: float = 0.725
    """Part of the peak memory bandwidth that kernels reach which only move data, were there multiprocessors enough."""
    sm_bytes_per_second: float = 6.7e10
    """What one multiprocessor keeps moving: bytes in flight over latency."""
    kernel_seconds: float = 6.8e-6
    """What a kernel takes beside its work: ramp-up, an uneven end and the gap to the next."""
    tile_flops: float = 4.15e6
    """What a matrix product takes on each multiprocessor beyond its own FLOPs, as its last wave of tiles is not full:
    half a tile of 128 × 128 with 250 terms a sum."""
    host_forward_seconds: float = 33e-6
    """What Python, autograd and the dispatcher take for an operator of the forward pass; the GPU waits where that is
    longer than the kernels."""
    host_backward_seconds: float = 14e-6
    """The same for an operator of the backward pass and of the optimizer, most of which run in C++."""
    step_seconds: float = 8.8e-3
    """What the host does once a step while the GPU waits: next batch, loss, scaler and scheduler."""


TIME = TimeConstants()
PROCESS_NANOMETRES: dict[str, float] = {
    "turing": 12, "volta": 12, "ampere": 7, "ada": 5, "hopper": 5, "blackwell": 4, "cdna3": 5,
}  # fmt: skip
"""Generation -> what the foundry calls the process, by NVIDIA's and AMD's architecture whitepapers: 4N is of the 5 nm
family; Ampere's GeForce chips are made in 8 nm, where power is enough. Blackwell's 4NP counts as 4, since products ran
at 1,745 TFLOP/s at best on a B200, 2.2 times as fast as on an H100, for which 5 would leave no power
(https://github.com/stas00/ml-engineering, table of maximum achievable matmul FLOPS); no row is on it."""
NEWEST_PROCESS_NANOMETRES = min(PROCESS_NANOMETRES.values())
"""Of a generation that is not in the table."""
TENSOR_ENERGY: dict[str, float] = {"fp16": 1.0, "bf16": 1.0, "tf32": 2.0, "int8": 0.5}
"""Energy of a FLOP on tensor cores over that in half precision: TF32 has half the rate of the same cores, int8 twice.
No row runs in either."""


def joules_per_flop(constants: TimeConstants, architecture: str, number_format: str) -> float:
    """Energy of a FLOP in the number format of the factors, in joules."""
    node = PROCESS_NANOMETRES.get(architecture, NEWEST_PROCESS_NANOMETRES) / 7
    times = TENSOR_ENERGY.get(number_format, constants.fp32_energy)
    return constants.joules_per_flop * times * math.pow(node, constants.node_exponent)


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
