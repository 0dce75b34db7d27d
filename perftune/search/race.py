"""What the search has seen to those that it cannot tell from the best: they race."""

from collections.abc import Sequence

from perftune.records.candidate import Candidate, Space
from perftune.records.probe import Objective
from perftune.records.trial import Purpose, Trial
from perftune.search.encoding import Encoding
from perftune.search.model import Beliefs
from perftune.search.strategy import fits, in_space

HOPELESS = 0.03
"""A candidate whose chance to be better than the leader is below this does not race."""


def contenders(
    space: Space, trials: Sequence[Trial], objective: Objective, most: int = 4, seed: int = 0
) -> list[Candidate]:
    """The candidates that the search cannot tell from the best, best first, at most so many; the user's base last.

    Only candidates that completed and fit. The base is added as the reference when it is not among them, if it runs.
    Trials of other purposes than search do not count, so the answer stays the same while the race goes on.
    """
    searched = [trial for trial in in_space(space, trials) if trial.purpose is Purpose.SEARCH]
    beliefs = _beliefs(space, searched, objective, seed)
    if beliefs is None:
        return []
    expected, chance = beliefs.standing()
    ranked = sorted(expected, key=lambda row: expected[row])
    close = [row for row in ranked if row == beliefs.leader or chance[row] > HOPELESS][:most]
    base = beliefs.encoding.number(space.base)
    if base in expected and base not in close:
        close.append(base)
    return [beliefs.encoding.candidate(row) for row in close]


def leader(space: Space, trials: Sequence[Trial], objective: Objective, seed: int = 0) -> Candidate | None:
    """The candidate, of those that completed and fit, that the models expect to be the best; None without any."""
    beliefs = _beliefs(space, in_space(space, trials), objective, seed)
    return None if beliefs is None else beliefs.encoding.candidate(beliefs.leader)


def _beliefs(space: Space, trials: Sequence[Trial], objective: Objective, seed: int) -> Beliefs | None:
    if not any(fits(space, trial) for trial in trials):
        return None
    return Beliefs(Encoding(space), trials, objective, seed)
