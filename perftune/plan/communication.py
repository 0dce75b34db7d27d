"""What the links between GPUs add to a step.

Volume a step and GPU, in bytes of what is sent: an all-reduce of M bytes over N GPUs is ``2 M (N − 1) / N`` in a ring,
a gather or a scatter half of that. Most of it runs beside the computation; that it is asked for takes the host, which
has the operators to launch as well.
"""

from perftune.plan.calibration import COLLECTIVE_SECONDS, LINK_EFFICIENCY, OVERLAP
from perftune.plan.gathering import num_blocks
from perftune.plan.roofline import Seconds
from perftune.plan.sharding import Sharding
from perftune.records.gpu import Gpu
from perftune.records.trace import Trace


def communication_seconds(
    sharding: Sharding, trace: Trace, gpu: Gpu, num_devices: int, num_micro: int, computing: Seconds
) -> float:
    """What communication adds to a step; 0 for one GPU, and where the link is not known."""
    if num_devices == 1 or gpu.link is None:
        return 0.0
    asking = Seconds(0.0, COLLECTIVE_SECONDS * _num_collectives(sharding, trace, num_micro))
    sent = _num_bytes(sharding, trace, num_devices, num_micro) / (gpu.link.bytes_per_second * LINK_EFFICIENCY)
    overlap = OVERLAP if sharding.overlaps else 0.0
    shown = max(sent * (1 - overlap), sent - computing.total * overlap)
    return (computing + asking).total - computing.total + shown


def _num_bytes(sharding: Sharding, trace: Trace, num_devices: int, num_micro: int) -> float:
    scatters = num_micro + 1 if sharding.num_gathers else 2
    gathered = sharding.num_gathers * num_micro * sum(trace.parameter_bytes)
    return (scatters * trace.trainable_bytes + gathered) * (num_devices - 1) / num_devices


def _num_collectives(sharding: Sharding, trace: Trace, num_micro: int) -> int:
    """Gathers and scatters of a step: a unit is a block, what is outside the blocks, or a tensor of an adapter (PEFT's
    ``fsdp_auto_wrap_policy``)."""
    if not sharding.num_gathers:
        return 0
    tape = trace.steps[0].tape
    adapters = len(tape.gradients) if len(tape.gradients) < len(trace.parameter_bytes) else 0
    return (num_blocks(tape.modules) + 1 + adapters) * (sharding.num_gathers + 1) * num_micro
