"""A traced variant, a GPU and a candidate to its estimate: peak memory by part, and the seconds of a step."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from perftune.plan.bands import memory_band, time_band
from perftune.plan.calibration import CONTEXT_BYTES, workspace_bytes
from perftune.plan.communication import communication_seconds
from perftune.plan.memory import Peak, replay
from perftune.plan.padding import UsualBatch, usual_batch
from perftune.plan.program import Program, build_program
from perftune.plan.roofline import Roofline, Seconds, micro_step, optimizer_step
from perftune.plan.sharding import SHARDINGS
from perftune.plan.tapes import FamilyTape, TapesOfSizes, constant, tapes_of_sizes
from perftune.records.candidate import CHECKPOINTING, CUDA_ALLOCATOR, OPTIMIZER, PRECISION, Candidate
from perftune.records.estimate import Estimate, MemoryEstimate, MemoryHolder, TimeEstimate
from perftune.records.gpu import Gpu
from perftune.records.trace import Trace


@dataclass(frozen=True)
class Setup:
    """What holds for all candidates of a plan."""

    global_batch_size: int
    num_devices: int = 1
    sharding: str = "none"
    headroom: float = 0.0
    num_tokens_by_percent: Sequence[int] = ()
    mean_num_tokens: float | None = None
    price_per_hour: float | None = None
    """Of one GPU."""


class ProgramKind(NamedTuple):
    """What decides the allocations of a step, beside its variant and its size."""

    optim: str
    accumulates: bool
    workspaces: tuple[int, ...]
    sharding: str
    num_devices: int


@dataclass(eq=False)
class Variant:
    """Everything that is known of one combination of precision, checkpointing and attention."""

    trace: Trace
    known_peaks: dict[str, int] = field(default_factory=dict)
    """Bytes that replays have found, by what they are of; what is here is not replayed again."""
    tapes: TapesOfSizes = field(init=False)
    optimizers: dict[str, FamilyTape] = field(init=False)
    _programs: dict[tuple[object, ...], Program] = field(default_factory=dict)
    _peaks: dict[tuple[object, ...], Peak] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tapes = tapes_of_sizes(self.trace)
        self.optimizers = {
            known.optim: constant(known.tape) for known in self.trace.optimizers if known.tape is not None
        }

    def paged_bytes(self, optim: str) -> int:
        """State outside the caching allocator."""
        return next((known.paged_bytes for known in self.trace.optimizers if known.optim == optim), 0)

    def peak(
        self, micro_batch: int, kind: ProgramKind, capacity_bytes: float, *, expandable_segments: bool = False
    ) -> Peak:
        """Of two optimizer steps at this size; a capacity of infinity never runs out.

        GPUs and precisions share the replay on a GPU without end; a GPU's own is needed only where memory gets short.
        """
        program, key = self.program(micro_batch, kind), (micro_batch, kind, expandable_segments)
        if key not in self._peaks:
            self._peaks[key] = replay(program, micro_batch, expandable_segments=expandable_segments)
        free = self._peaks[key]
        if free.reserved_bytes is not None and free.reserved_bytes <= capacity_bytes:
            return free
        if free.allocated_bytes > capacity_bytes:
            return replace(free, reserved_bytes=None)
        return replay(program, micro_batch, capacity_bytes=int(capacity_bytes), expandable_segments=expandable_segments)

    def program(self, micro_batch: int, kind: ProgramKind) -> Program:
        """What two optimizer steps allocate."""
        tape = self.tapes.at(micro_batch)
        key = (id(tape), kind)
        if key not in self._programs:
            program = build_program(
                self.trace,
                tape,
                self.optimizers[kind.optim],
                accumulates=kind.accumulates,
                workspaces=kind.workspaces,
            )
            self._programs[key] = SHARDINGS[kind.sharding].program(program, kind.num_devices, self.trace)
        return self._programs[key]


def estimate(variant: Variant, gpu: Gpu, candidate: Candidate, setup: Setup) -> Estimate:
    """Predict one candidate on one GPU.

    Raises:
        DifferentTapesError: its micro-batch is beyond what was traced.
        KeyError: its optimizer was not traced.
    """
    memory = _memory(variant, gpu, candidate, setup)
    usable = gpu.memory_bytes * (1 - setup.headroom)
    fits = memory.device_bytes is not None and memory.device_bytes <= usable
    time = _time(variant, gpu, candidate, setup)
    cost = None
    if setup.price_per_hour is not None:
        cost = setup.price_per_hour * setup.num_devices / 3600 / time.samples_per_second * 1e6
    return Estimate(
        gpu=gpu.name, candidate=candidate, fits=fits, memory=memory, time=time, cost_per_million_samples=cost
    )


def _optim(candidate: Candidate) -> str:
    return str(candidate.settings[OPTIMIZER])


def micro_steps(candidate: Candidate, setup: Setup) -> int:
    """Of one optimizer step."""
    return setup.global_batch_size // (candidate.micro_batch * setup.num_devices)


def _memory(variant: Variant, gpu: Gpu, candidate: Candidate, setup: Setup) -> MemoryEstimate:
    kind = ProgramKind(
        optim=_optim(candidate),
        accumulates=micro_steps(candidate, setup) > 1,
        workspaces=workspace_bytes(gpu.architecture),
        sharding=setup.sharding,
        num_devices=setup.num_devices,
    )
    context = CONTEXT_BYTES[gpu.architecture]
    peak = variant.peak(
        candidate.micro_batch,
        kind,
        gpu.memory_bytes - context,
        expandable_segments="expandable" in str(candidate.settings.get(CUDA_ALLOCATOR)),
    )
    parts = dict(peak.parts)
    if peak.reserved_bytes is not None:
        parts["fragmentation"] = peak.reserved_bytes - peak.allocated_bytes
    parts["context"] = context
    band = memory_band(gpu, setup.sharding)
    return MemoryEstimate(
        allocated_bytes=peak.allocated_bytes,
        reserved_bytes=peak.reserved_bytes,
        device_bytes=None if peak.reserved_bytes is None else peak.reserved_bytes + context,
        parts=parts,
        holders=tuple(MemoryHolder(module=m, operator=op, num_bytes=size) for m, op, size in peak.holders),
        paged_bytes=variant.paged_bytes(kind.optim),
        num_alloc_retries=peak.num_alloc_retries,
        error_band=band.part,
        outside=band.outside,
    )


def _usual(variant: Variant, candidate: Candidate, setup: Setup) -> tuple[UsualBatch | None, float]:
    """The usual micro-batch, and how much of the work of the heaviest one it is: tokens over tokens."""
    if not setup.num_tokens_by_percent:
        return None, 1.0
    usual = usual_batch(setup.num_tokens_by_percent, setup.mean_num_tokens, candidate.micro_batch)
    longest = max(step.num_padded_tokens / step.micro_batch for step in variant.trace.steps)
    return usual, min(1.0, usual.num_padded_tokens / longest) if longest else 1.0


def forward_and_backward(
    variant: Variant, roofline: Roofline, candidate: Candidate, setup: Setup
) -> tuple[Seconds, Seconds]:
    """Of all micro-steps of an optimizer step."""
    tape, share = variant.tapes.at(candidate.micro_batch), work_share(variant, candidate, setup)
    forward = backward = Seconds(0.0, 0.0)
    for number, times in ((0, 1), (1, micro_steps(candidate, setup) - 1)):
        work = micro_step(tape, candidate.micro_batch, number)
        forward += roofline.forward(work.forward).scaled(share, times)
        backward += roofline.backward(work.backward).scaled(share, times)
    return forward, backward


def work_share(variant: Variant, candidate: Candidate, setup: Setup) -> float:
    """How much of the work of the heaviest micro-batch the usual one is."""
    return _usual(variant, candidate, setup)[1]


def _time(variant: Variant, gpu: Gpu, candidate: Candidate, setup: Setup) -> TimeEstimate:
    precision, num_micro = str(candidate.settings[PRECISION]), micro_steps(candidate, setup)
    roofline, tape = Roofline(gpu, precision), variant.tapes.at(candidate.micro_batch)
    usual, share = _usual(variant, candidate, setup)
    forward, backward = forward_and_backward(variant, roofline, candidate, setup)
    optimizer = roofline.optimizer(optimizer_step(variant.optimizers[_optim(candidate)]))
    sharding = SHARDINGS[setup.sharding]
    optimizer = sharding.optimizer(optimizer, setup.num_devices)
    computing = Seconds(forward.kernels + backward.kernels, forward.host + backward.host)
    waits = communication_seconds(sharding, variant.trace, gpu, setup.num_devices, num_micro, computing)
    step = computing.total + optimizer.total + waits
    samples = setup.global_batch_size / step
    main_dtype = _main_dtype(tape, candidate.micro_batch)
    band = time_band(gpu, roofline.number_format(main_dtype), setup.sharding)
    return TimeEstimate(
        step_seconds=step,
        forward_seconds=forward.total,
        backward_seconds=backward.total,
        optimizer_seconds=optimizer.total,
        communication_seconds=waits,
        samples_per_second=samples,
        tokens_per_second=None if usual is None else samples * usual.num_tokens,
        mfu=_mfu(roofline.peak_flops(main_dtype), tape, candidate, num_micro * share, step),
        is_host_bound=computing.host > computing.kernels,
        error_band=band.part,
        outside=band.outside,
    )


def _main_dtype(tape: FamilyTape, micro_batch: int) -> str:
    """What most of the FLOPs are in."""
    kinds, kind_of_op = tape.op_kinds
    by_dtype = dict.fromkeys((dtype for _, dtype in kinds), 0.0)
    each = np.bincount(kind_of_op, tape.flops.at(micro_batch), len(kinds))
    for (_, dtype), number in zip(kinds, each, strict=True):
        by_dtype[dtype] += float(number)
    return max(by_dtype, key=lambda dtype: by_dtype[dtype], default="fp32")


def _mfu(peak: float, tape: FamilyTape, candidate: Candidate, num_micro: float, step_seconds: float) -> float | None:
    """Against the peak of the arithmetic that most of the FLOPs are in, in FLOP/s."""
    marks = tape.example.op_marks
    flops = tape.flops.at(candidate.micro_batch)
    begin, end = marks["micro_0"], marks["micro_0_ends"]
    turn = min(place for name, place in marks.items() if name.startswith("backward_"))
    own = float(flops[begin:end].sum())
    if candidate.settings.get(CHECKPOINTING) is True:
        own -= float(flops[begin:turn].sum())
    return None if not peak else own * num_micro / (step_seconds * peak)
