"""Steps of a trial that runs by itself to stretches of them, each with what disturbed it. Child side."""

from collections.abc import Sequence

from perftune.devices.disturbance import DisturbanceCounters
from perftune.measuring.slices import SliceTimer
from perftune.records.disturbance import undisturbed_seconds, undisturbed_steps
from perftune.records.trial import Slice

LEAST_SECONDS = 0.25
"""A stretch has at least so many: waits are counted when they are over, and reading the counters takes 0.1 ms."""


class Stretches:
    """What disturbed the steps, beside them. Of several processes of a trial each counts its own."""

    def __init__(self, counters: DisturbanceCounters | None = None) -> None:
        """
        Args:
            counters: of disturbances; None are those of this process.
        """
        self.closed: list[Slice] = []
        self._timer = SliceTimer(counters)
        self._first_step = 0

    def begin(self) -> None:
        """The first step begins: what came before it is in no stretch."""
        self._timer.begin()

    def step_ended(self, step_seconds: Sequence[float]) -> None:
        """Close the stretch, if it is long enough.

        Args:
            step_seconds: of all steps of the trial so far.
        """
        num_steps = len(step_seconds) - self._first_step
        if sum(step_seconds[self._first_step :]) >= LEAST_SECONDS:
            self.closed.append(self._timer.slice(len(self.closed), self._first_step, num_steps))
            self._first_step += num_steps
            self._timer.begin()

    def undisturbed(self, step_seconds: Sequence[float]) -> list[float]:
        """What the steps would have taken by themselves, as far as they are in closed stretches."""
        return undisturbed_steps(self.closed, step_seconds)

    def undisturbed_so_far(self, seconds: float) -> float:
        """The same of the step under way, of which so many seconds have passed."""
        return undisturbed_seconds(self._timer.slice(len(self.closed), self._first_step, 1), (seconds,))
