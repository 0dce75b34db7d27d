"""The two searches without a model: random order without replacement, and the full grid."""

from collections.abc import Sequence

import numpy as np

from perftune.records.candidate import Candidate, Space
from perftune.records.probe import Objective
from perftune.records.trial import Trial
from perftune.search.encoding import Encoding


class RandomSearch:
    """The user's own candidate first, then every other one in an order that the seed decides."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def propose(self, space: Space, trials: Sequence[Trial], objective: Objective) -> Candidate | None:  # noqa: ARG002
        """The next candidate of the order that has not been run."""
        encoding = Encoding(space)
        order = np.random.default_rng(self._seed).permutation(len(encoding))
        return _first_new(encoding, order.tolist(), trials)


class GridSearch:
    """The user's own candidate first, then every other one in the order of the knobs."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def propose(self, space: Space, trials: Sequence[Trial], objective: Objective) -> Candidate | None:  # noqa: ARG002
        """The next candidate of the grid that has not been run."""
        encoding = Encoding(space)
        return _first_new(encoding, range(len(encoding)), trials)


def _first_new(encoding: Encoding, order: Sequence[int], trials: Sequence[Trial]) -> Candidate | None:
    tried = {encoding.number(trial.candidate) for trial in trials}
    base = encoding.number(encoding.space.base)
    if base is not None and base not in tried:
        return encoding.space.base
    number = next((number for number in order if number not in tried), None)
    return None if number is None else encoding.candidate(number)
