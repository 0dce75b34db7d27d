"""Traces of a few micro-batches to the tape of any: every size grows evenly with the micro-batch.

Two traces whose events are the same in the same order give each allocation and each operator as ``base + slope ×
micro_batch``; the tape of a size in between or beyond is then replayed exactly, so that what is not even about a peak
(rounding, segments, another moment that holds it) comes out as it does on the device. A micro-batch of one is often
different in kind, since dimensions of one vanish, and is traced by itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perftune.records.trace import Tape, Trace, TracedStep

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Line:
    """Values that grow evenly with the micro-batch."""

    base: Floats
    slope: Floats

    def at(self, micro_batch: int) -> Floats:
        """The values at one micro-batch, never below 0."""
        return np.maximum(self.base + self.slope * micro_batch, 0.0)


class Work(NamedTuple):
    """What some operators compute and move; but for `kinds`, one entry an operator."""

    flops: Floats
    num_bytes: Floats
    kinds: list[tuple[str, str]]
    """Every pair of name and dtype."""
    kind_of_op: Ints
    """Index into `kinds`."""
    times: Floats
    """How often it runs."""

    def alike_once(self) -> "Work":
        """The same work, with operators that are alike in one entry."""
        columns = np.stack([self.flops, self.num_bytes, self.kind_of_op], 1)
        unlike, place = np.unique(columns, axis=0, return_inverse=True)
        times = np.bincount(place, self.times, len(unlike)).astype(np.float64)
        return Work(unlike[:, 0], unlike[:, 1], self.kinds, unlike[:, 2].astype(np.int64), times)


@dataclass(frozen=True, eq=False)
class FamilyTape:
    """One tape for many micro-batches."""

    example: Tape
    sizes: Line
    flops: Line
    num_bytes: Line

    @cached_property
    def events(self) -> Ints:
        """See `Tape.events`."""
        return np.array(self.example.events, dtype=np.int64)

    @cached_property
    def op_kinds(self) -> tuple[list[tuple[str, str]], Ints]:
        """Every pair of name and dtype that occurs among the operators, and which of them each operator is."""
        ops, known = self.example.ops, dict[tuple[int, str], int]()
        kinds = [known.setdefault(pair, len(known)) for pair in zip(ops.name, ops.dtype, strict=True)]
        return [(ops.names[name], dtype) for name, dtype in known], np.array(kinds, dtype=np.int64)

    def work(self, micro_batch: int, begin: int, end: int) -> Work:
        """Of the operators ``begin`` to ``end``."""
        kinds, kind_of_op = self.op_kinds
        flops, num_bytes = (line.at(micro_batch)[begin:end] for line in (self.flops, self.num_bytes))
        return Work(flops, num_bytes, kinds, kind_of_op[begin:end], np.ones(end - begin))


class DifferentTapesError(Exception):
    """Two traces do not have the same events in the same order, so nothing can be said between them."""


def in_order(tape: Tape) -> Tape:
    """The tape with frees that follow one another sorted.

    Their order does not matter, and is none where a hash table is cleared, such as autocast's cache of cast weights.
    """
    cuts = set(tape.marks.values())
    events: list[int] = []
    run: list[int] = []
    for place, event in enumerate(tape.events):
        if run and (event > 0 or place in cuts):
            events += sorted(run, reverse=True)
            run = []
        if event > 0:
            events.append(event)
        else:
            run.append(event)
    return tape.model_copy(update={"events": (*events, *sorted(run, reverse=True))})


def constant(tape: Tape) -> FamilyTape:
    """A tape that does not depend on the micro-batch."""
    values = (np.array(column, dtype=np.float64) for column in (tape.sizes, tape.ops.flops, tape.ops.num_bytes))
    return FamilyTape(tape, *(Line(column, np.zeros_like(column)) for column in values))


def family(first: TracedStep, second: TracedStep) -> FamilyTape:
    """The tapes of all micro-batches from those of two.

    Raises:
        DifferentTapesError: they differ in more than sizes.
    """
    a, b = in_order(first.tape), in_order(second.tape)
    if a.events != b.events or a.ops.name != b.ops.name or a.ops.names != b.ops.names:
        raise DifferentTapesError(
            f"micro-batches {first.micro_batch} and {second.micro_batch} do different things: "
            f"{len(a.events)} and {len(b.events)} allocations and frees"
        )
    between = second.micro_batch - first.micro_batch

    def line(low: tuple[float, ...], high: tuple[float, ...]) -> Line:
        low_values, high_values = np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)
        slope = (high_values - low_values) / between
        return Line(low_values - slope * first.micro_batch, slope)

    return FamilyTape(
        b,
        line(a.sizes, b.sizes),
        line(a.ops.flops, b.ops.flops),
        line(a.ops.num_bytes, b.ops.num_bytes),
    )


@dataclass(frozen=True, eq=False)
class TapesOfSizes:
    """The traced step of one variant, for every micro-batch."""

    alone: dict[int, FamilyTape] = field(default_factory=dict)
    """Sizes that were traced and are unlike the others."""
    rest: FamilyTape | None = None
    tokens: dict[int, int] = field(default_factory=dict)

    def cover(self, sizes: Iterable[int]) -> bool:
        """Whether something is known of all these micro-batches."""
        return self.rest is not None or all(size in self.alone for size in sizes)

    def at(self, micro_batch: int) -> FamilyTape:
        """The tape to use.

        Raises:
            DifferentTapesError: nothing is known of this size.
        """
        found = self.alone.get(micro_batch, self.rest)
        if found is None:
            raise DifferentTapesError(f"micro-batch {micro_batch} was not traced, and the traced sizes are unlike")
        return found


def tapes_of_sizes(trace: Trace) -> TapesOfSizes:
    """All that a trace tells of its micro-batches."""
    steps = sorted(trace.steps, key=lambda step: step.micro_batch)
    made = TapesOfSizes(alone={step.micro_batch: constant(step.tape) for step in steps})
    if len(steps) < 2:
        return made
    try:
        return replace(made, rest=family(steps[-2], steps[-1]))
    except DifferentTapesError:
        return made
