"""The contender's end of a heat: so many optimizer steps when it is told to, an answer, and a wait. Child side."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from perftune.devices.disturbance import DisturbanceCounters
from perftune.measuring.collective import SumOverProcesses, alone
from perftune.measuring.slices import SliceTimer
from perftune.records.heat import TurnTaken
from perftune.records.trial import Slice, TurnRule
from perftune.task_folder import ANSWER, Turn, turn_name

ENDED = Turn(round=-1, num_steps=0)
"""What a runner that is gone would have said."""


class Turns:
    """Says after each step whether to go on; waits in between, with nothing of the wait in any step."""

    def __init__(
        self,
        directory: Path,
        rank: int,
        rule: TurnRule,
        total: SumOverProcesses = alone,
        counters: DisturbanceCounters | None = None,
    ) -> None:
        """
        Args:
            directory: of the trial; the runner has made the FIFOs there.
            rank: of this process; rank 0 answers for all.
            rule: of the heat.
            total: sums over all processes of the trial.
            counters: of disturbances; None are those of this process.
        """
        self.slices: list[Slice] = []
        self.wants_worst_batch = False
        """Whether the worst batch is to be run after the last turn."""
        self._timer = SliceTimer(counters, total)
        self._open = ExitStack()
        self._turns = self._open.enter_context((directory / turn_name(rank)).open(encoding="ascii"))
        self._answers = None
        if rank == 0:
            self._answers = self._open.enter_context((directory / ANSWER).open("w", encoding="ascii"))
        self._first_step = 0
        self._begin(Turn(round=-1, num_steps=rule.warmup_steps))

    def _begin(self, turn: Turn) -> None:
        self._turn = turn
        self._timer.begin()

    def goes_on(self, step_seconds: Sequence[float]) -> bool:
        """Whether there is another step; at the end of a turn this waits for the next.

        Args:
            step_seconds: of all steps of the trial so far.
        """
        if len(step_seconds) < self._first_step + self._turn.num_steps:
            return True
        self._answer(step_seconds)
        turn = self._next()
        self._first_step = len(step_seconds)
        self._begin(turn)
        self.wants_worst_batch = turn.worst_batch
        return turn.num_steps > 0

    def _answer(self, step_seconds: Sequence[float]) -> None:
        part = self._slice()
        if self._turn.round >= 0:
            self.slices.append(part)
        if self._answers is not None:
            taken = TurnTaken(slice=part, step_seconds=tuple(step_seconds[self._first_step :]))
            self._answers.write(taken.model_dump_json() + "\n")
            self._answers.flush()

    def _slice(self) -> Slice:
        part = self._timer.slice(self._turn.round, self._first_step, self._turn.num_steps)
        return part.model_copy(update={"clock_hertz": self._timer.clock_hertz()})

    def _next(self) -> Turn:
        line = self._turns.readline()
        return Turn(**json.loads(line)) if line else ENDED

    def close(self) -> None:
        """Nothing more is heard or said."""
        self._open.close()
