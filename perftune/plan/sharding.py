"""One GPU's program and times to those of several: what each holds of parameters, gradients and state, what it sends.

ZeRO stages as in Rajbhandari et al. 2020 (arXiv 1910.02054): stage 1 shards the optimizer's state, stage 2 the
gradients too, stage 3 (and FSDP full shard) the parameters as well. Volume a step and GPU, in bytes of what is sent: an
all-reduce of M bytes over N GPUs is ``2 M (N − 1) / N`` in a ring, a gather or a scatter half of that.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from perftune.plan.program import Part, Program
from perftune.plan.roofline import Seconds
from perftune.records.gpu import Gpu
from perftune.records.trace import Trace

OVERLAP = 0.7
"""Part of the communication that runs while there is something to compute."""
NUM_BLOCKS_AT_ONCE = 2
"""The block that computes and the one that is fetched."""
COLLECTIVE_SECONDS = 0.7e-3
"""What a unit's gather or scatter takes beside its bytes: hooks in Python, latency, streams that wait for each other.
Six FSDP rows of fms-acceleration (2 A100, software of 2024 and 2025) need 0.2 to 1.7 ms."""
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
        sharded = replace(program, base=base, slope=slope)
        if self.has_buckets:
            grads = (program.part == Part.GRADIENTS) & (np.arange(len(base)) <= _last_first_gradient(program))
            sharded = _added(sharded, float(base[grads].sum()), Part.GRADIENTS, "ddp buckets", [0], [])
        if self.num_gathers:
            begins, ends = _micro_steps(program)
            sharded = _added(sharded, _gathered_bytes(program), Part.PARAMETERS, "gathered parameters", begins, ends)
        return sharded

    def optimizer(self, seconds: Seconds, num_devices: int) -> Seconds:
        """Of the optimizer, which steps its own shard."""
        divided = num_devices if Part.OPTIMIZER_STATE in self.shards else 1
        return Seconds(seconds.kernels / divided, seconds.host)


def _added(
    program: Program, num_bytes: float, part: Part, what: str, begins: Sequence[int], ends: Sequence[int]
) -> Program:
    """One more buffer, made before some events and freed before others."""
    count = len(program.base)
    made = {place: count + 1 + number for number, place in enumerate(begins)}
    freed = dict(zip(ends, made.values(), strict=False))
    events: list[int] = []
    for place, event in enumerate(program.events.tolist()):
        if place in freed:
            events.append(-freed[place])
        if place in made:
            events.append(made[place])
        events.append(event)
    return replace(
        program,
        events=np.array(events, dtype=np.int64),
        base=np.append(program.base, [num_bytes] * len(begins)),
        slope=np.append(program.slope, [0.0] * len(begins)),
        part=np.append(program.part, [int(part)] * len(begins)),
        maker=[*program.maker, *[("", what)] * len(begins)],
    )


def _micro_steps(program: Program) -> tuple[list[int], list[int]]:
    """Events at which forward and backward passes begin, and at which the optimizer follows."""
    begins: list[int] = []
    ends: list[int] = []
    for place, event in enumerate(program.events.tolist()):
        part = program.part[event - 1] if event > 0 else Part.PARAMETERS
        if part in _MOVING and len(begins) == len(ends):
            begins.append(place)
        elif part in _STATE and len(begins) > len(ends):
            ends.append(place)
    return begins, ends


def _num_blocks(modules: Iterable[str]) -> int:
    """Elements of the outermost lists of modules."""
    places = (re.match(r"(.*?)\.(\d+)(\.|$)", module) for module in modules)
    return len({found.group(1, 2) for found in places if found})


def _gathered_bytes(program: Program) -> float:
    """Parameters that are there in full at once: those outside the repeated blocks, one block's and the next one's.

    FSDP keeps the root unit gathered from its forward to the end of its backward pass, and fetches the next block while
    one computes (``BACKWARD_PRE``). A size that occurs in every block is one of the blocks'.
    """
    num_blocks = _num_blocks(module for module, _ in program.maker)
    sizes = Counter(program.base[program.part == Part.PARAMETERS].tolist())
    blocks = sum(size * count for size, count in sizes.items() if num_blocks and count >= num_blocks)
    root = sum(size * count for size, count in sizes.items()) - blocks
    return float(root + NUM_BLOCKS_AT_ONCE * blocks / num_blocks) if num_blocks else float(root)


def _last_first_gradient(program: Program) -> int:
    """The program holds two steps; the gradients of the first come before the second's."""
    numbers = np.flatnonzero(program.part == Part.GRADIENTS)
    return int(numbers[len(numbers) // 2 - 1]) if len(numbers) > 1 else int(numbers[0]) if len(numbers) else -1


_MOVING = frozenset({Part.ACTIVATIONS, Part.TEMPORARIES, Part.GRADIENTS})
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
    shown = max(seconds * (1 - OVERLAP), seconds - computing_seconds * OVERLAP)
    return shown + COLLECTIVE_SECONDS * _num_collectives(sharding, trace, num_micro)


def _num_collectives(sharding: Sharding, trace: Trace, num_micro: int) -> int:
    """Gathers and scatters of a step: a unit is a block, what is outside the blocks, or a tensor of an adapter (PEFT's
    ``fsdp_auto_wrap_policy``)."""
    if not sharding.num_gathers:
        return 0
    tape = trace.steps[0].tape
    adapters = len(tape.gradients) if len(tape.gradients) < len(trace.parameter_bytes) else 0
    return (_num_blocks(tape.modules) + 1 + adapters) * (sharding.num_gathers + 1) * num_micro
