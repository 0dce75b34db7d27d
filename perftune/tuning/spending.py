"""A budget to what may still be spent of it: wall clock of the whole study, by phase, also after an interruption."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from perftune.records.probe import Budget


class Spending:
    """Counts seconds from its making on, over those that earlier runs of the study have spent."""

    def __init__(
        self,
        budget: Budget,
        spent_seconds: float = 0.0,
        phase_seconds: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            budget: what the user gave.
            spent_seconds: by earlier runs of the same study.
            phase_seconds: the same by phase.
            clock: monotonic seconds.
        """
        self.budget = budget
        self._clock, self._begun = clock, clock() - spent_seconds
        self._phases = dict(phase_seconds or {})

    @property
    def total_seconds(self) -> float:
        """The whole budget."""
        return self.budget.minutes * 60

    @property
    def spent_seconds(self) -> float:
        """Wall clock since the study was asked for, without the time in which it was interrupted."""
        return self._clock() - self._begun

    @property
    def phase_seconds(self) -> dict[str, float]:
        """What each phase took; a phase that runs is not in it yet."""
        return dict(self._phases)

    def resume(self, spent_seconds: float, phase_seconds: Mapping[str, float]) -> None:
        """Count what earlier runs of the study spent too."""
        self._begun -= spent_seconds
        for name, seconds in phase_seconds.items():
            self._phases[name] = self._phases.get(name, 0.0) + seconds

    def left_seconds(self, share: float = 1.0) -> float:
        """What is left until so large a part of the budget is spent; negative when it is passed."""
        return share * self.total_seconds - self.spent_seconds

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book what happens inside under this name, and under no other: a phase inside of it has its own."""
        begun, elsewhere = self._clock(), sum(self._phases.values())
        try:
            yield
        finally:
            inner = sum(self._phases.values()) - elsewhere
            self._phases[name] = self._phases.get(name, 0.0) + self._clock() - begun - inner
