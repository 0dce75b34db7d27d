"""A program with further allocations, and with some that live longer: what several GPUs add to the tape of one."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np

from perftune.plan.program import MicroStep, Part, Program


@dataclass
class Rewriting:
    """Changes to a program, each at a place: the number of events of the program that come before it."""

    program: Program
    _columns: list[tuple[float, float, Part, tuple[str, str]]] = field(default_factory=list)
    _inserted: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    _dropped: set[int] = field(default_factory=set)
    _stream: dict[int, int] = field(default_factory=dict)
    _lent: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.freed_at = {-event - 1: place for place, event in enumerate(self.program.events.tolist()) if event < 0}
        """Allocation of the program -> place of its end."""

    def make(
        self,
        place: int,
        num_bytes: tuple[float, float],
        part: Part,
        what: str,
        *,
        stream: int = 0,
        is_lent: bool = False,
    ) -> int:
        """One more allocation.

        Args:
            place: where it is made, after what was made or freed there before.
            num_bytes: base and slope, as in `Program`.
            part: what it is for.
            what: its name in reports.
            stream: whose pools it is from.
            is_lent: whether another stream works on it too.
        """
        number = len(self.program.base) + len(self._columns)
        self._columns.append((*num_bytes, part, ("", what)))
        self._inserted[place].append(number + 1)
        if stream:
            self._stream[number] = stream
        if is_lent:
            self._lent.add(number)
        return number

    def free(self, place: int, number: int) -> None:
        """End an allocation at a place instead of where it ended."""
        if number in self.freed_at:
            self._dropped.add(self.freed_at[number])
        self._inserted[place].append(-(number + 1))

    def done(self) -> Program:
        """The changed program."""
        events: list[int] = []
        moved: list[int] = []
        for place, event in enumerate([*self.program.events.tolist(), 0]):
            moved.append(len(events))
            events += self._inserted.get(place, [])
            if event and place not in self._dropped:
                events.append(event)
        return replace(
            self.program,
            events=np.array(events, dtype=np.int64),
            base=np.append(self.program.base, [column[0] for column in self._columns]),
            slope=np.append(self.program.slope, [column[1] for column in self._columns]),
            part=np.append(self.program.part, [int(column[2]) for column in self._columns]),
            maker=[*self.program.maker, *[column[3] for column in self._columns]],
            micro_steps=tuple(MicroStep(*(moved[place] for place in step)) for step in self.program.micro_steps),
            stream=self.program.stream | self._stream,
            lent=self.program.lent | self._lent,
        )


def for_another_part(program: Program, numbers: Collection[int], part: Part) -> Program:
    """The program with some allocations that are for something else."""
    parts = program.part.copy()
    parts[sorted(numbers)] = int(part)
    return replace(program, part=parts)
