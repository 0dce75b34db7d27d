"""One GPU's program and times to those of several: what each holds of parameters, gradients and state, and what it sends.

ZeRO stages as in Rajbhandari et al. 2020 (arXiv 1910.02054): stage 1 shards the optimizer's state, stage 2 the gradients
too, stage 3 (and FSDP full shard) the parameters as well. Volume a step and GPU, in bytes of what is sent: an all-reduce of M
bytes over N GPUs is ``2 M (N − 1) / N`` in a ring, a gather or a scatter half of that.
"""

from dataclasses import dataclass, replace

import numpy as np

from perftune.plan.program import Part, Program
from perftune.plan.roofline import Seconds
from perftune.records.gpu import Gpu
from perftune.records.trace import Trace

OVERLAP = 0.7
"""Part of the communication that runs while there is something to compute."""
LINK_EFFICIENCY = 0.75
"""What collectives reach of a link's bandwidth (NCCL's bus bandwidth against the data sheet)."""


@dataclass(frozen=True)
class Sharding:
    """What is divided among the GPUs."""

    shards: frozenset[Part] = frozenset()
    num_gathers: int = 0
    """Times that the parameters are gathered in a micro-step."""
    has_buckets: bool = False
    """DDP copies gradients into buckets of the same size (``gradient_as_bucket_view=False``, torch's default)."""

    def program(self, program: Program, num_devices: int) -> Program:
        """What one GPU allocates."""
        if num_devices == 1:
            return program
        base, slope = program.base.copy(), program.slope.copy()
        divided = np.isin(program.part, [int(part) for part in self.shards])
        base[divided] /= num_devices
        slope[divided] /= num_devices
        if self.has_buckets:
            grads = (program.part == Part.GRADIENTS) & (np.arange(len(base)) <= _last_first_gradient(program))
            bucket = float(base[grads].sum())
            return replace(
                program,
                events=np.concatenate([[len(base) + 1], program.events]),
                base=np.append(base, bucket),
                slope=np.append(slope, 0.0),
                part=np.append(program.part, int(Part.GRADIENTS)),
                maker=[*program.maker, ("", "ddp buckets")],
            )
        return replace(program, base=base, slope=slope)

    def optimizer(self, seconds: Seconds, num_devices: int) -> Seconds:
        """Of the optimizer, which steps its own shard."""
        divided = num_devices if Part.OPTIMIZER_STATE in self.shards else 1
        return Seconds(seconds.kernels / divided, seconds.host)


def _last_first_gradient(program: Program) -> int:
    """The program holds two steps; the gradients of the first come before the second's."""
    numbers = np.flatnonzero(program.part == Part.GRADIENTS)
    return int(numbers[len(numbers) // 2 - 1]) if len(numbers) > 1 else int(numbers[0]) if len(numbers) else -1


_STATE = frozenset({Part.OPTIMIZER_STATE, Part.OPTIMIZER_TEMPORARIES})
_GRADS = _STATE | {Part.GRADIENTS}
_ALL = _GRADS | {Part.PARAMETERS}
SHARDINGS = {
    "none": Sharding(),
    "ddp": Sharding(has_buckets=True),
    "zero1": Sharding(_STATE),
    "zero2": Sharding(_GRADS),
    "zero3": Sharding(_ALL, num_gathers=2),
    "fsdp": Sharding(_ALL, num_gathers=2),
}
"""Name -> what it does; ``none`` is for one GPU."""


def communication_seconds(
    sharding: Sharding, trace: Trace, gpu: Gpu, num_devices: int, num_micro: int, computing_seconds: float
) -> float:
    """What communication adds to a step; 0 for one GPU, and where the link is not known."""
    if num_devices == 1 or gpu.link is None:
        return 0.0
    share = (num_devices - 1) / num_devices
    gathered = sharding.num_gathers * num_micro * sum(trace.parameter_bytes)
    num_bytes = (2 * trace.trainable_bytes + gathered) * share
    if sharding.num_gathers:
        num_bytes += (num_micro - 1) * trace.trainable_bytes * share
    seconds = num_bytes / (gpu.link.bytes_per_second * LINK_EFFICIENCY)
    return max(seconds * (1 - OVERLAP), seconds - computing_seconds * OVERLAP)
