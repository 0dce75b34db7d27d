"""One trial of a heat: a process that trains in its turn and is stopped, with all its threads and workers, in between.

A contender that waits must not take the time of the one whose turn it is. Blocked in a read it takes none itself, but
its data loader workers would go on filling their queue, threads of OpenMP spin for a while, and user code may have
threads of its own. So its whole process group is stopped, and finds the world as it was when its turn comes. What user
code has put into a session of its own is not stopped.
"""

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from statistics import median

from perftune.isolation.channel import Channel
from perftune.isolation.classify import Facts
from perftune.isolation.launchers.launched import Process, signal_group
from perftune.isolation.task import Task, ended_trial
from perftune.isolation.watch import End, Watch
from perftune.records.heat import TurnTaken
from perftune.records.trial import Trial, TrialRequest
from perftune.task_folder import Turn

WatchOf = Callable[[Process, Task], Watch]
Start = Callable[[Task], AbstractContextManager[Process]]


class Contender:
    """Started in its first turn, which is its warm-up; a trial once it has ended."""

    def __init__(self, request: TrialRequest, task: Task, start: Start, watch: WatchOf) -> None:
        self.request = request
        self.trial: Trial | None = None
        self.wall_seconds = 0.0
        """What it has used of the heat."""
        self.step_seconds = 0.0
        """Of one step, as its last turn went."""
        self._task, self._open = task, ExitStack()
        task.prepare()
        self._channel = Channel(task.directory, request.num_processes)
        self._open.callback(self._channel.close)
        try:
            self._process = self._open.enter_context(start(task))
        except BaseException:
            self.close()
            raise
        self._watch = watch(self._process, task)

    def warm_up(self) -> TurnTaken | End:
        """Wait until it is built and has trained for its warm-up."""
        return self._answer(self.request.deadline_seconds)

    def take(self, turn: Turn, deadline_seconds: float) -> TurnTaken | End:
        """Let it run for a turn."""
        self._go_on_with(turn)
        return self._answer(deadline_seconds)

    def finish(self, worst_batch: bool) -> End:
        """Let it do what comes after training, and end."""
        self._go_on_with(Turn(round=-1, num_steps=0, worst_batch=worst_batch))
        return self._watch.until_end(self.request.deadline_seconds)

    def facts(self, end: End) -> Facts:
        """All that is known of how it ended."""
        return self._task.facts(end)

    def has_ended(self, facts: Facts) -> None:
        """Close it; from now on it is a trial."""
        self.close()
        self.trial = ended_trial(self.request, self._task, facts, self.wall_seconds)

    def close(self) -> None:
        """Kill what is left of it."""
        self._open.close()

    def _go_on_with(self, turn: Turn) -> None:
        self._channel.give(turn)
        signal_group(self._process.pid, signal.SIGCONT)

    def _answer(self, deadline_seconds: float) -> TurnTaken | End:
        answer = self._watch.until_answer(self._channel, deadline_seconds)
        if isinstance(answer, End):
            return answer
        signal_group(self._process.pid, signal.SIGSTOP)
        taken = TurnTaken.model_validate_json(answer)
        self.step_seconds = median(taken.step_seconds)
        return taken
