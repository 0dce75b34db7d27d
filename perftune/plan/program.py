"""A traced step, an optimizer and a number of accumulation steps to one flat program of allocations: two whole steps.

The second step is the first one that finds the optimizer's state, which is where most trainings have their peak.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from perftune.plan.tapes import FamilyTape, Floats, Ints
from perftune.records.trace import Tape, Trace


class Part(IntEnum):
    """What memory is for."""

    PARAMETERS = 0
    BUFFERS = 1
    GRADIENTS = 2
    OPTIMIZER_STATE = 3
    ACTIVATIONS = 4
    TEMPORARIES = 5
    OPTIMIZER_TEMPORARIES = 6
    WORKSPACES = 7


class MicroStep(NamedTuple):
    """Where a forward and a backward pass are among the events of a program."""

    begin: int
    turn: int
    """The first event of the backward pass."""
    end: int


@dataclass(eq=False)
class Program:
    """Allocations and frees in order, with what each is for."""

    events: Ints
    """``n + 1`` makes allocation n, ``-(n + 1)`` frees it."""
    base: Floats
    slope: Floats
    """Bytes of allocation n: ``base[n] + slope[n] × micro_batch``."""
    part: Ints
    maker: list[tuple[str, str]]
    """Module and operator of each allocation."""
    micro_steps: tuple[MicroStep, ...] = ()
    stream: dict[int, int] = field(default_factory=dict)
    """Allocation -> CUDA stream whose pools it is from, where it is not the usual one, 0."""
    lent: frozenset[int] = frozenset()
    """Allocations that another stream works on (``record_stream``): their memory comes back when it has passed."""

    def sizes(self, micro_batch: int) -> Ints:
        """Bytes asked for, by allocation."""
        return np.maximum(np.rint(self.base + self.slope * micro_batch), 0).astype(np.int64)


@dataclass
class _Builder:
    events: list[int] = field(default_factory=list)
    base: list[float] = field(default_factory=list)
    slope: list[float] = field(default_factory=list)
    part: list[int] = field(default_factory=list)
    maker: list[tuple[str, str]] = field(default_factory=list)
    alive: set[int] = field(default_factory=set)
    micro_steps: list[MicroStep] = field(default_factory=list)

    def make(self, base: float, slope: float, part: int, maker: tuple[str, str]) -> int:
        number = len(self.base)
        self.base.append(base)
        self.slope.append(slope)
        self.part.append(part)
        self.maker.append(maker)
        self.events.append(number + 1)
        self.alive.add(number)
        return number

    def free(self, number: int) -> None:
        if number in self.alive:
            self.alive.remove(number)
            self.events.append(-(number + 1))

    def play(self, tape: FamilyTape, parts: Ints, begin: int, end: int, known: dict[int, int]) -> None:
        """Append a stretch of a tape; `known`: its allocations -> those of the program."""
        example = tape.example
        bases, slopes, own = tape.sizes.base.tolist(), tape.sizes.slope.tolist(), parts.tolist()
        for event in example.events[begin:end]:
            number = abs(event) - 1
            if event < 0:
                if number in known:
                    self.free(known.pop(number))
                continue
            former = known.get(number)  # what an earlier play of the same stretch has left
            known[number] = self.make(bases[number], slopes[number], own[number], _maker(example, number))
            if former is not None:
                self.free(former)

    def play_micro_step(self, tape: FamilyTape, parts: Ints, name: str, known: dict[int, int]) -> None:
        """Append a forward and a backward pass; `name` is that of its mark."""
        begin, turn, end = pass_marks(tape.example.marks, name)
        places = [len(self.events)]
        for first, last in ((begin, turn), (turn, end)):
            self.play(tape, parts, first, last, known)
            places.append(len(self.events))
        self.micro_steps.append(MicroStep(*places))

    def program(self) -> Program:
        return Program(
            np.array(self.events, dtype=np.int64),
            np.array(self.base),
            np.array(self.slope),
            np.array(self.part, dtype=np.int64),
            self.maker,
            tuple(self.micro_steps),
        )


def pass_marks(marks: Mapping[str, int], name: str) -> MicroStep:
    """Where a micro-step of a tape begins, turns to its backward pass and ends; it may have none."""
    begin, end = marks[name], marks[f"{name}_ends"]
    turns = (place for mark, place in marks.items() if mark.startswith("backward_") and begin <= place <= end)
    return MicroStep(begin, min(turns, default=end), end)


def _maker(tape: Tape, number: int) -> tuple[str, str]:
    op = tape.op[number]
    return tape.modules[tape.module[number]], tape.ops.names[tape.ops.name[op]] if op >= 0 else "inputs"


def _ends(tape: Tape) -> dict[int, int]:
    """Allocation -> number of the event that frees it."""
    return {-event - 1: place for place, event in enumerate(tape.events) if event < 0}


def step_parts(tape: Tape) -> Ints:
    """What each allocation of a traced step is for: kept from forward to backward, a gradient, or in between."""
    ends, gradients = _ends(tape), set(tape.gradients)
    turns = sorted(place for name, place in tape.marks.items() if name.startswith("backward_"))
    parts = np.full(len(tape.sizes), int(Part.TEMPORARIES), dtype=np.int64)
    for place, event in enumerate(tape.events):
        if event < 0:
            continue
        number = event - 1
        end = ends.get(number, len(tape.events))
        if number in gradients:
            parts[number] = Part.GRADIENTS
        elif bisect_right(turns, place) < bisect_right(turns, end):
            parts[number] = Part.ACTIVATIONS
    return parts


def optimizer_parts(tape: Tape) -> Ints:
    """State is what outlives the first step."""
    ends, first = _ends(tape), tape.marks["step_0_ends"]
    kept = [ends.get(number, len(tape.events) + 1) > first for number in range(len(tape.sizes))]
    made_before = {event - 1 for event in tape.events[:first] if event > 0}
    return np.array(
        [
            int(Part.OPTIMIZER_STATE) if keep and number in made_before else int(Part.OPTIMIZER_TEMPORARIES)
            for number, keep in enumerate(kept)
        ],
        dtype=np.int64,
    )


def build_program(
    trace: Trace,
    step: FamilyTape,
    optimizer: FamilyTape,
    *,
    accumulates: bool,
    workspaces: Iterable[int] = (),
) -> Program:
    """Two optimizer steps.

    Args:
        trace: of the variant.
        step: its micro-steps.
        optimizer: its two steps.
        accumulates: whether there is more than one micro-step to an optimizer step.
        workspaces: bytes that the libraries hold through their handles.
    """
    builder = _Builder()
    for part, sizes in ((Part.PARAMETERS, trace.parameter_bytes), (Part.BUFFERS, trace.buffer_bytes)):
        for size in sizes:
            builder.make(size, 0.0, part, ("", part.name.lower()))
    for size in workspaces:
        builder.make(size, 0.0, Part.WORKSPACES, ("", "workspace"))
    micro_parts, own_parts = step_parts(step.example), optimizer_parts(optimizer.example)
    kept = set(step.example.gradients) - _ends(step.example).keys()
    states: dict[int, int] = {}
    known: dict[int, int] = {}
    for number in range(2):
        first = "micro_1" if known else "micro_0"  # gradients that zero_grad keeps are added to
        builder.play_micro_step(step, micro_parts, first, known)
        if accumulates:
            builder.play_micro_step(step, micro_parts, "micro_1", known)
        begin, end = optimizer.example.marks[f"clip_{number}"], optimizer.example.marks[f"step_{number}_ends"]
        builder.play(optimizer, own_parts, begin, end, states)
        for gradient in [number for number in known if number not in kept]:
            builder.free(known.pop(gradient))
    return builder.program()
