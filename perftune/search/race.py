"""Contenders close to the best, run in turns, become a winner: pairs within a round say when it is enough."""

from collections.abc import Sequence

from perftune.records.candidate import Candidate, Space
from perftune.records.probe import Objective
from perftune.records.summary import times_better
from perftune.records.trial import Purpose, Trial
from perftune.search.encoding import Encoding
from perftune.search.model import Beliefs
from perftune.search.strategy import fits, in_space
from perftune.statistics import paired_ratio

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


def next_in_race(
    contenders: Sequence[Candidate],
    trials: Sequence[Trial],
    objective: Objective,
    worthwhile: float,
    max_rounds: int,
) -> Candidate | None:
    """The contender to run next; None when the race is over.

    A contender drops out when it fails, or when the whole interval of its paired ratio to the leader lies below one.
    The race is over when no contender left can be better than the leader by more than `worthwhile`, or when
    `max_rounds` are run. The order turns by one every round, so that no contender always follows the same one.

    Args:
        contenders: as from `contenders()`; the same in every call of one race.
        trials: of the study; only those with the purpose RACE count.
        objective: what is compared.
        worthwhile: smallest relative difference that matters.
        max_rounds: most runs of one contender.
    """
    race = _Race(contenders, trials, objective)
    if len(contenders) < 2:
        return None
    for number in range(max_rounds):
        running = race.running(number, worthwhile)
        if len(running) < 2:
            return None
        turn = number % len(running)
        for index in (*running[turn:], *running[:turn]):
            if race.num_runs(index) <= number:
                return contenders[index]
    return None


def winner(
    space: Space, contenders: Sequence[Candidate], trials: Sequence[Trial], objective: Objective, seed: int = 0
) -> Candidate | None:
    """The contender that the models expect to be the best; None when none completed a race trial.

    They have seen the search and the race, and how the machine changed meanwhile. The paired ratios of the few rounds
    alone choose a candidate that is more than 2 % slower than the best three times as often, on recorded landscapes.
    """
    race = _Race(contenders, trials, objective)
    finishers = [contenders[index] for index in race.finishers()]
    beliefs = _beliefs(space, in_space(space, trials), objective, seed)
    if beliefs is None:
        return None
    expected, _ = beliefs.standing()
    rows = [row for one in finishers if (row := beliefs.encoding.number(one)) is not None and row in expected]
    return beliefs.encoding.candidate(min(rows, key=lambda row: expected[row])) if rows else None


class _Race:
    """Race trials sorted by contender; the n-th run of a contender belongs to round n."""

    def __init__(self, contenders: Sequence[Candidate], trials: Sequence[Trial], objective: Objective) -> None:
        self._objective = objective
        racing = [trial for trial in trials if trial.purpose is Purpose.RACE]
        self._runs = [[trial for trial in racing if trial.candidate.key == c.key] for c in contenders]

    def num_runs(self, index: int) -> int:
        return len(self._runs[index])

    def _failed(self, index: int) -> bool:
        return any(trial.measurement is None for trial in self._runs[index])

    def ratio(self, index: int, other: int, num_rounds: int) -> tuple[float, float, float]:
        """How many times better one contender is than another over common rounds, with a 95 % interval."""
        runs = zip(self._runs[index][:num_rounds], self._runs[other][:num_rounds], strict=False)
        return paired_ratio([(times_better(a, b, self._objective), 1.0) for a, b in runs])

    def finishers(self) -> list[int]:
        """Those that ran and never failed."""
        return [index for index, runs in enumerate(self._runs) if runs and not self._failed(index)]

    def running(self, num_rounds: int, worthwhile: float) -> list[int]:
        """Who runs in the next round: replayed, so that it depends on nothing but the rounds before it."""
        running = list(range(len(self._runs)))
        for done in range(1, num_rounds + 1):
            running = [i for i in running if not self._failed(i)]
            finalists = [i for i in running if self.num_runs(i) >= done]
            if not finalists:
                return []
            best = max(finalists, key=lambda i: self.ratio(i, finalists[0], done)[0])
            intervals = {i: self.ratio(i, best, done) for i in finalists if i != best}
            running = [i for i in running if i == best or (i in intervals and intervals[i][2] >= 1)]
            if all(intervals[i][2] < 1 + worthwhile for i in running if i != best):
                return []
        return running
