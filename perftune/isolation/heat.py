"""Several trial requests to trials that ran side by side: live processes that take turns of a second, round by round.

What disturbs a machine comes and goes within seconds, and drifts over minutes. Turns that follow one another within a
second, on the same data, are disturbed alike or told apart by what the kernel counted; building and warming up is paid
once (duet benchmarking: Bulej et al., 2020, doi:10.1145/3358960.3379132).
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple, TypeVar

from perftune.isolation.classify import was_killed
from perftune.isolation.contender import Contender, Start, WatchOf
from perftune.isolation.task import Task
from perftune.isolation.watch import End
from perftune.records.heat import Round, TurnTaken
from perftune.records.trial import Trial, TrialRequest, TurnRule
from perftune.task_folder import Turn

GoesOn = Callable[[Sequence[Round]], Collection[int]]
"""The rounds so far -> the numbers of the trials that run another. Those left out end there, without the worst batch.
With fewer than two there is no other round: the heat is over, and all that are left end as trials do."""

SLOW = 20.0
"""A turn may take so many times what the contender's last one lets expect: a shared machine was seen 8 times slower."""

T = TypeVar("T")


class KilledFromOutsideError(Exception):
    """A contender was killed, and the heat may be begun again."""


class TurnPlan(NamedTuple):
    """How long the turns of a heat are, and how many there may be."""

    warmup_steps: int = 3
    slice_seconds: float = 1.0
    """Of the contender in the middle; at least one step."""
    max_rounds: int = 30
    max_steps: int = 2000
    """Of each contender, warm-up included; what the learning-rate schedule is made for."""
    min_deadline_seconds: float = 60.0
    """A turn may take so long in any case."""


def in_order(contenders: Sequence[T], round_number: int) -> list[T]:
    """Whose turn it is in a round: A B, B A, B A, A B for two.

    In as many pairs of rounds as there are contenders each comes once to every place, and as often from either side,
    so neither the place nor a drift favours one.
    """
    shift = round_number // 2 % len(contenders)
    rotated = [*contenders[shift:], *contenders[:shift]]
    return rotated[::-1] if round_number % 2 else rotated


class Heat:
    """Runs contenders side by side; one that dies, hangs or runs out of memory loses its own turns alone."""

    def __init__(
        self,
        plan: TurnPlan,
        start: Start,
        watch: WatchOf,
        task: Callable[[TrialRequest], Task],
        clock: Callable[[], float],
        num_kills: int = 0,
    ) -> None:
        """
        Args:
            plan: of the turns.
            start: starts the process of a task, and kills it on leaving.
            watch: waits for a process.
            task: of a request.
            clock: monotonic seconds, the same clock as ``time.monotonic`` in children.
            num_kills: how often the heat was begun before, and a contender killed from outside.
        """
        self._num_kills = num_kills
        self._plan, self._start, self._watch, self._task, self._clock = plan, start, watch, task, clock
        self._contenders: list[Contender] = []
        self._num_steps = plan.warmup_steps
        self._charged = 0.0

    def run(self, requests: Sequence[TrialRequest], goes_on: GoesOn) -> list[Trial]:
        """All trials, in the order of their requests. Together their wall seconds are those of the heat.

        Raises:
            KilledFromOutsideError: a contender was, for the first time.
        """
        self._charged = self._clock()
        with ExitStack() as stack:
            for request in requests:
                self._enter(request, stack)
            rounds: list[Round] = []
            while self._may_go_on(len(rounds)):
                rounds.append(self._round(len(rounds)))
                self._leave(goes_on(rounds))
            for contender in self._alive():
                self._note(contender, contender.finish(worst_batch=True))
        return [contender.trial for contender in self._contenders if contender.trial is not None]

    def _alive(self) -> list[Contender]:
        return [contender for contender in self._contenders if contender.trial is None]

    def _may_go_on(self, num_rounds: int) -> bool:
        has_steps = self._num_steps < self._plan.max_steps
        return num_rounds < self._plan.max_rounds and len(self._alive()) > 1 and has_steps

    def _enter(self, request: TrialRequest, stack: ExitStack) -> None:
        rule = TurnRule(warmup_steps=self._plan.warmup_steps, max_steps=self._plan.max_steps)
        update = {"turns": rule, "requested_monotonic_seconds": self._clock()}
        request = request.model_copy(update=update)
        contender = Contender(request, self._task(request), self._start, self._watch)
        stack.callback(contender.close)
        self._contenders.append(contender)
        self._note(contender, contender.warm_up())

    def _round(self, number: int) -> Round:
        turn = Turn(number, self._steps_of_a_turn())
        self._num_steps += turn.num_steps
        taken: Round = {}
        for contender in in_order(self._alive(), number):
            expected = turn.num_steps * contender.step_seconds
            answer = contender.take(turn, max(self._plan.min_deadline_seconds, SLOW * expected))
            self._note(contender, answer)
            if isinstance(answer, TurnTaken):
                taken[contender.request.number] = answer
        return taken

    def _steps_of_a_turn(self) -> int:
        """The same for all, so that they stay on the same data."""
        step_seconds = median(contender.step_seconds for contender in self._alive())
        most = self._plan.max_steps - self._num_steps
        return min(most, max(1, round(self._plan.slice_seconds / step_seconds)))

    def _leave(self, stay: Collection[int]) -> None:
        """End those that cannot win, unless that is all there is to go on with."""
        if len(stay) < 2:
            self._num_steps = self._plan.max_steps
            return
        for contender in self._alive():
            if contender.request.number not in stay:
                self._note(contender, contender.finish(worst_batch=False))

    def _note(self, contender: Contender, answer: TurnTaken | End) -> None:
        """Charge the contender with the time since the last note; if it has ended, it is a trial now."""
        now = self._clock()
        contender.wall_seconds += now - self._charged
        self._charged = now
        if isinstance(answer, End):
            facts = contender.facts(answer)._replace(num_kills=self._num_kills)
            if was_killed(facts) and not self._num_kills:
                raise KilledFromOutsideError
            contender.has_ended(facts)
