"""Trials that ran side by side, in turns, to rounds: what each took for the same steps, within a few seconds."""

from collections.abc import Sequence
from typing import TypeAlias

from perftune.records.base import Record
from perftune.records.trial import Slice, Trial


class TurnTaken(Record):
    """A slice with the seconds of its optimizer steps."""

    slice: Slice
    step_seconds: tuple[float, ...]


Round: TypeAlias = dict[int, TurnTaken]
"""Number of a trial -> its turn. All turns of a round are of the same steps, on the same data."""


def rounds_of(trials: Sequence[Trial]) -> list[Round]:
    """The rounds of a heat, from its trials as they lie in a study.

    Args:
        trials: of one heat; those that did not complete have left no rounds.
    """
    rounds: dict[int, Round] = {}
    for trial in trials:
        if trial.measurement is None:
            continue
        seconds = trial.measurement.steps.step_seconds
        for part in trial.measurement.slices:
            steps = seconds[part.first_step : part.first_step + part.num_steps]
            rounds.setdefault(part.round, {})[trial.number] = TurnTaken(slice=part, step_seconds=steps)
    return [rounds[number] for number in sorted(rounds)]
