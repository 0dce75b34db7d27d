"""One GPU's program to that of several: what each holds of parameters, gradients and state.

ZeRO stages as in Rajbhandari et al. 2020 (arXiv 1910.02054): stage 1 shards the optimizer's state, stage 2 the
gradients too, stage 3 (and FSDP full shard) the parameters as well.
"""

from dataclasses import dataclass, replace

import numpy as np

from perftune.plan.gathering import gathered, kept_inputs, scattered, unit_bytes
from perftune.plan.program import Part, Program
from perftune.plan.rewriting import Rewriting
from perftune.plan.roofline import Seconds
from perftune.records.trace import Trace


@dataclass(frozen=True)
class Sharding:
    """What is divided among the GPUs."""

    shards: frozenset[Part] = frozenset()
    num_gathers: int = 0
    """Times that the parameters are gathered in a micro-step."""
    has_buckets: bool = False
    """DDP copies gradients into buckets of the same size (``gradient_as_bucket_view=False``, torch's default)."""
    has_flat_units: bool = False
    """FSDP: the parameters of a unit are one flat parameter, and so are its gradients."""
    overlaps: bool = True
    """Whether communication runs beside the computation; DeepSpeed's stage 1 ignores ``overlap_comm``, reduces
    gradients after the backward pass and gathers parameters after the optimizer (its pull request 1246)."""

    def program(self, program: Program, num_devices: int, trace: Trace) -> Program:
        """What one GPU allocates."""
        if num_devices == 1:
            return program
        root_bytes, block_bytes = unit_bytes(program)
        sharded = self._divided(program, num_devices)
        if self.has_buckets:
            sharded = _with_buckets(sharded)
        if self.has_flat_units:
            if trace.is_reentrant and trace.trainable_bytes < sum(trace.parameter_bytes):
                sharded = kept_inputs(sharded)
            sharded = scattered(sharded, num_devices)
        return gathered(sharded, root_bytes, block_bytes) if self.num_gathers else sharded

    def _divided(self, program: Program, num_devices: int) -> Program:
        at_once = self.shards - {Part.GRADIENTS} if self.has_flat_units else self.shards
        share = np.where(np.isin(program.part, [int(part) for part in at_once]), 1 / num_devices, 1.0)
        return replace(program, base=program.base * share, slope=program.slope * share)

    def optimizer(self, seconds: Seconds, num_devices: int) -> Seconds:
        """Of the optimizer, which steps its own shard."""
        divided = num_devices if Part.OPTIMIZER_STATE in self.shards else 1
        return Seconds(seconds.kernels / divided, seconds.host)


def _with_buckets(program: Program) -> Program:
    """One copy of the gradients, of all that there are at a time, from the beginning on."""
    numbers = np.abs(program.events) - 1
    added = np.where(program.part[numbers] == Part.GRADIENTS, np.sign(program.events) * program.base[numbers], 0.0)
    changes = Rewriting(program)
    changes.make(0, (float(np.cumsum(added).max()), 0.0), Part.GRADIENTS, "ddp buckets")
    return changes.done()


_STATE = frozenset({Part.OPTIMIZER_STATE, Part.OPTIMIZER_TEMPORARIES})
_GRADS = _STATE | {Part.GRADIENTS}
_ALL = _GRADS | {Part.PARAMETERS}
SHARDINGS = {
    "none": Sharding(),
    "ddp": Sharding(has_buckets=True),
    "zero1": Sharding(_STATE, overlaps=False),
    "zero2": Sharding(_GRADS),
    "zero3": Sharding(_ALL, num_gathers=2),
    "fsdp": Sharding(_ALL, num_gathers=2, has_flat_units=True),
}
"""Name -> what it does; ``none`` is for one GPU."""
