"""The one question that every search answers: given the trials so far, which candidate next?"""

from collections.abc import Sequence
from typing import Protocol

from perftune.records.candidate import Candidate, Space
from perftune.records.probe import Objective
from perftune.records.trial import Outcome, Purpose, Trial


class Strategy(Protocol):
    """A search. The same space, trials and objective always give the same answer, so a study resumes by replay."""

    def propose(self, space: Space, trials: Sequence[Trial], objective: Objective) -> Candidate | None:
        """The candidate to run next; None when there is nothing left that is worth a trial."""


OUT_OF_MEMORY = {Outcome.OUT_OF_MEMORY, Outcome.KILLED}
"""Outcomes that speak of memory: the kernel ends the hungriest process with SIGKILL."""


_COMPARABLE = {Purpose.SEARCH, Purpose.RACE, Purpose.ABLATION}
"""Other trials do more than train (evaluate, save) or run another number of steps."""


def in_space(space: Space, trials: Sequence[Trial]) -> list[Trial]:
    """The trials that can be compared with one another, of candidates of this space."""
    values = {knob.name: knob.values for knob in space.knobs}
    return [
        trial
        for trial in trials
        if trial.purpose in _COMPARABLE
        and trial.candidate.settings.keys() == values.keys()
        and all(value in values[name] for name, value in trial.candidate.settings.items())
    ]


def fits(space: Space, trial: Trial) -> bool:
    """Whether a trial completed within the memory that the recommendation may use."""
    return trial.measurement is not None and trial.measurement.memory.peak_bytes <= space.usable_memory_bytes
