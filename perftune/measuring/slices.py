"""Optimizer steps to a slice of them: when it began, and what disturbed this process until it ended. Child side."""

import time

from perftune.devices.disturbance import DisturbanceCounters
from perftune.measuring.collective import SumOverProcesses, alone
from perftune.records.trial import Slice


class SliceTimer:
    """Reads the kernel's counters when a slice begins and when it is asked for."""

    def __init__(self, counters: DisturbanceCounters | None = None, total: SumOverProcesses = alone) -> None:
        """
        Args:
            counters: of disturbances; None are those of this process.
            total: sums over all processes of the trial, which then have to ask in the same steps.
        """
        self._counters, self._total = counters or DisturbanceCounters(), total
        self.begin()

    def begin(self) -> None:
        """What came before is in no slice."""
        self._begun, self._before = time.monotonic(), self._counters.read()

    def slice(self, number: int, first_step: int, num_steps: int) -> Slice:
        """What was run since it began; it goes on until another begins.

        Args:
            number: of the round, or of the stretch.
            first_step: index into the steps of the trial.
            num_steps: from there on.
        """
        seen = self._counters.since(self._before)
        waited_seconds, num_threads = self._total((seen.run_queue_seconds or 0.0, seen.num_threads))
        return Slice(
            round=number,
            first_step=first_step,
            num_steps=num_steps,
            begun_monotonic_seconds=self._begun,
            run_queue_seconds=None if seen.run_queue_seconds is None else waited_seconds,
            num_threads=int(num_threads),
            steal_seconds=seen.steal_seconds,
        )

    def clock_hertz(self) -> float | None:
        """Of the cores now."""
        return self._counters.clock_hertz()
