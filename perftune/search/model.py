"""The main search: physical models of time and memory decide which candidate is worth the next trial."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH, Candidate, Space
from perftune.records.probe import Objective
from perftune.records.trial import Outcome, Trial
from perftune.search.encoding import Bools, Encoding, Floats, Ints
from perftune.search.fitting import MemoryModel
from perftune.search.observations import Observation, observe
from perftune.search.predictions import predictions
from perftune.search.strategy import OUT_OF_MEMORY, fits, in_space
from perftune.search.timing import TimeModel, log_total

NUM_DRAWS = 384
MOST_ROWS = 400
"""Candidates that are looked at closely; of a larger space, those that the time model holds the most promising."""
MOST_SCREENED = 20_000
"""Candidates whose expectation is computed; of a still larger space, a part."""
SMALLEST_FIT = 0.15
"""Candidates less likely to fit are not tried."""
LIKELY_FIT = 0.7
"""While nothing has fitted, candidates more likely to are all alike in that."""
MOST_RERUNS = 2
MOST_RUNS = 3
"""Of a candidate that the search runs again since it may be better than the best, before new ones are tried. Which of
the two is, if it is close, is told by turns and not by the search."""
CHANCE = 0.05
"""A candidate whose chance of a gain that matters is not above this is not worth a trial."""
REFERENCE_EVERY = 12
"""Trials without any repeat after which the reference is run again, …"""
REFERENCE_EVERY_ROUGH = 5
"""… and on a machine that seems to drift."""
MOST_EARLY_OOMS = 8
"""Nothing completed and this many ran out of memory: give up."""


class ModelSearch:
    """Expected improvement under the models, weighed by the chance to fit; ends when nothing can be worth a trial.

    Args:
        seed: of the posterior draws.
        worthwhile: smallest relative gain that matters.
        chance: a candidate is worth a trial if its chance to gain that much is above this.
    """

    def __init__(self, seed: int = 0, *, worthwhile: float = 0.02, chance: float = CHANCE) -> None:
        self._seed = seed
        self._worthwhile = worthwhile
        self._chance = chance

    def propose(self, space: Space, trials: Sequence[Trial], objective: Objective) -> Candidate | None:
        """The candidate to run next; None when no candidate is likely enough to gain enough."""
        known = in_space(space, trials)
        encoding = Encoding(space)
        base = encoding.number(space.base)
        if base is not None and not any(encoding.number(trial.candidate) == base for trial in known):
            return space.base
        if not any(fits(space, trial) for trial in known):
            return _recover(encoding, known)
        row = self._choose(Beliefs(encoding, known, objective, self._seed))
        return None if row is None else encoding.candidate(row)

    def _choose(self, beliefs: "Beliefs") -> int | None:
        reference = beliefs.stale_reference()
        gains = beliefs.learnable_gains()
        weight, is_open = beliefs.weight[beliefs.rows], beliefs.open[beliefs.rows]
        promising = (gains > np.log1p(self._worthwhile)).mean(axis=0) * weight > self._chance
        if not (is_open & promising).any():
            return None
        if reference is not None:
            return reference
        improvement = np.maximum(gains, 0).mean(axis=0) * weight
        improvement[~is_open & ~(promising & (beliefs.num_runs < MOST_RUNS))] = -1.0
        best = int(np.argmax(improvement))
        return int(beliefs.rows[best]) if is_open[best] else beliefs.less_known(int(beliefs.rows[best]))


@dataclass
class Beliefs:
    """All that the trials say about the candidates, ready for a decision."""

    encoding: Encoding
    trials: Sequence[Trial]
    objective: Objective
    seed: int

    def __post_init__(self) -> None:
        self._tried: list[int] = [row for t in self.trials if (row := self.encoding.number(t.candidate)) is not None]
        self.observations: list[Observation] = observe(self.encoding, self.trials, self.objective)
        predicted = predictions(self.encoding)
        self.memory = MemoryModel(self.encoding, self.trials, predicted)
        self.time = TimeModel(self.encoding, self.observations, predicted)
        self.weight: Floats = self.memory.fit_probability() * _health(self.encoding, self.trials)
        self.open: Bools = self._open()
        """Candidates that may be proposed: not tried, or tried only while the machine was disturbed."""
        fitting = {row for row, t in zip(self._tried, self.trials, strict=True) if fits(self.encoding.space, t)}
        # Peaks of equal runs differ: what fitted once and once did not is no answer, unless there is no other.
        self._fitting = sorted({row for row in fitting if not self.memory.excluded[row]} or fitting)
        self.rows: Ints = self._shortlist()
        """Candidates that are looked at closely; those that completed and fit among them."""
        self.log_costs: Floats = self._log_costs()
        """Joint draws of what is minimised, draw × shortlisted row: log seconds per step, or log peak bytes."""

    def _open(self) -> Bools:
        result = self.weight >= SMALLEST_FIT
        result[self._tried] = False
        for position in self.time.disturbed:
            row = self.observations[position].row
            runs = [i for i, o in enumerate(self.observations) if o.row == row]
            if all(i in self.time.disturbed for i in runs) and len(runs) <= MOST_RERUNS:
                result[row] = not self.memory.excluded[row]
        return result

    def _shortlist(self) -> Ints:
        wanted = self.open.copy()
        wanted[self._fitting] = True
        rows = np.flatnonzero(wanted)
        if len(rows) > MOST_SCREENED:
            rows = self._screened(rows)
        if len(rows) > MOST_ROWS:
            mean, sd = self.time.mean_log_seconds(rows)
            promising = rows[np.argsort(mean - 1.5 * sd, kind="stable")[:MOST_ROWS]]
            rows = np.unique(np.concatenate([promising, self._fitting]))
        return rows

    def _screened(self, rows: Ints) -> Ints:
        """Of too many candidates, those that differ in two knobs at most from the fastest so far, and a random part."""
        fastest = min(self.observations, key=lambda o: o.log_total).row
        codes = self.encoding.codes
        near = rows[(codes[rows] != codes[fastest]).sum(axis=1) <= 2]
        rng = np.random.default_rng([self.seed, len(self.trials), 1])
        some = rng.choice(rows, MOST_SCREENED, replace=False)
        return np.unique(np.concatenate([near, some, np.array(self._fitting)]))

    def _log_costs(self) -> Floats:
        rng = np.random.default_rng([self.seed, len(self.trials)])
        if self.objective is Objective.PEAK_MEMORY:
            return self.memory.log_samples(self.rows, NUM_DRAWS, rng)
        return log_total(self.time.part_samples(self.rows, NUM_DRAWS, rng))

    @property
    def num_runs(self) -> Ints:
        """Completed runs of every shortlisted row."""
        return np.array([sum(o.row == row for o in self.observations) for row in self.rows])

    def less_known(self, row: int) -> int:
        """Of a row and the leader, the one that was run less often."""
        runs = [o.row for o in self.observations]
        return min((row, self.leader), key=runs.count)

    @property
    def leader(self) -> int:
        """The row, of those that completed and fit, with the best expectation."""
        positions = np.searchsorted(self.rows, self._fitting)
        means = self.log_costs[:, positions].mean(axis=0)
        return self._fitting[int(np.argmin(means))]

    def gains(self) -> Floats:
        """Draws of the relative gain of every shortlisted row on the leader, as a difference of logarithms."""
        position = int(np.searchsorted(self.rows, self.leader))
        return np.asarray(self.log_costs[:, [position]] - self.log_costs, dtype=np.float64)

    def standing(self) -> tuple[dict[int, float], dict[int, float]]:
        """Of every row that completed and fits: the mean log cost, and the chance to be better than the leader."""
        positions = np.searchsorted(self.rows, self._fitting)
        means = self.log_costs[:, positions].mean(axis=0)
        chances = (self.gains()[:, positions] > 0).mean(axis=0)
        return (
            dict(zip(self._fitting, means.tolist(), strict=True)),
            dict(zip(self._fitting, chances.tolist(), strict=True)),
        )

    def gains_of(self, rows: Sequence[int]) -> Floats:
        """Draws of the log gain of any candidates on the leader: draw × row."""
        rng = np.random.default_rng([self.seed, len(self.trials)])
        wanted = np.array([self.leader, *rows])
        if self.objective is Objective.PEAK_MEMORY:
            costs = self.memory.log_samples(wanted, NUM_DRAWS, rng)
        else:
            costs = log_total(self.time.part_samples(wanted, NUM_DRAWS, rng))
        return np.asarray(costs[:, :1] - costs[:, 1:], dtype=np.float64)

    def learnable_gains(self) -> Floats:
        """Draws of what the gain will be believed to be after one noisy trial: shrunk to the share that it can tell."""
        gains = self.gains()
        mean, variance = gains.mean(axis=0), gains.var(axis=0)
        told = np.sqrt(variance / (variance + self.time.noise_variance))
        return np.asarray(mean + told * (gains - mean), dtype=np.float64)

    def stale_reference(self) -> int | None:
        """The base (or, if it does not run, the leader) when too long nothing was repeated to see the machine drift."""
        rows = [o.row for o in self.observations]
        since = 0
        for i in range(len(rows) - 1, 0, -1):
            if rows[i] in rows[:i]:
                break
            since += 1
        every = REFERENCE_EVERY_ROUGH if self.time.roughness > 0.5 else REFERENCE_EVERY
        if since < every:
            return None
        base = self.encoding.number(self.encoding.space.base)
        return base if base in self._fitting else self.leader


def _health(encoding: Encoding, trials: Sequence[Trial]) -> Floats:
    """The chance that a candidate runs at all: halved for every failure of a value that has never completed."""
    health = np.ones(len(encoding))
    failed = {Outcome.CRASHED, Outcome.UNSUPPORTED, Outcome.DIVERGED, Outcome.TIMED_OUT}
    completed = [t.candidate.settings for t in trials if t.outcome is Outcome.COMPLETED]
    for trial in trials:
        row = encoding.number(trial.candidate)
        if row is None or trial.outcome not in failed:
            continue
        health[row if trial.outcome is Outcome.TIMED_OUT else encoding.arm(row)] = 0.0
        for name in encoding.names:
            if not any(settings[name] == trial.candidate.settings[name] for settings in completed):
                health[encoding.equal(row, [name])] *= 0.5
    return health


def _recover(encoding: Encoding, trials: Sequence[Trial]) -> Candidate | None:
    """Nothing has fitted yet: smaller micro-batches of the user's arm, then with checkpointing, then other arms.

    Where traces predict what fits, that comes first: the largest micro-batch that does, with the fewest changes.
    """
    ooms = sum(trial.outcome in OUT_OF_MEMORY for trial in trials)
    tried = [row for trial in trials if (row := encoding.number(trial.candidate)) is not None]
    memory = MemoryModel(encoding, trials, predictions(encoding))
    closed = memory.excluded | (_health(encoding, trials) == 0)
    closed[tried] = True
    rows = np.flatnonzero(~closed)
    smallest_was_tried = bool((encoding.micro_batch[tried] == encoding.micro_batch.min()).any())
    if not len(rows) or (ooms >= MOST_EARLY_OOMS and smallest_was_tried):
        return None
    size = float(encoding.space.base.micro_batch)
    wanted = size if memory.knows else max(size / 4 ** len(trials), 1.0)
    doubt = 1 - memory.fit_probability()[rows] if memory.knows else np.zeros(len(rows))
    doubt[doubt <= 1 - LIKELY_FIT] = 0.0
    changed, checkpointed = _changes(encoding, rows)
    far = np.abs(np.log(encoding.micro_batch[rows] / wanted))
    nearest = np.lexsort((far, changed, changed - checkpointed, doubt))[0]
    return encoding.candidate(int(rows[nearest]))


def _changes(encoding: Encoding, rows: Ints) -> tuple[Ints, Ints]:
    """How many knobs are not the user's own in each row, the micro-batch aside; and whether checkpointing is not."""
    base = encoding.number(encoding.space.base)
    changed, checkpointed = np.zeros((2, len(rows)), dtype=np.int64)
    for name in encoding.names:
        differs = encoding.column(name)[rows] != encoding.column(name)[base]
        changed += differs & (name != MICRO_BATCH)
        checkpointed += differs & (name == CHECKPOINTING)
    return changed, checkpointed
