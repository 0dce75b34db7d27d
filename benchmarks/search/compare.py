"""Replay the searches on recorded landscapes and print, as a Markdown table, what each finds in how many trials.

python -m benchmarks.search.compare benchmarks/search/landscapes/*.json
python -m benchmarks.search.compare benchmarks/search/landscapes/*.json --noise 3 --strategies model

Regret: how much slower the recommended candidate is than the best of the landscape (drift taken out), as a part of
the best. Recommended is what the search itself would name: for the model its expectation among the candidates that
ran and fit, for the others the best score of those. When the model's search has nothing left that is worth a trial,
its contenders race, as in a study. Trials to 2 %: the first trial after which the regret is 2 % or less; a search that
ends before counts as the whole space.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.search.landscape import Landscape, Truth, complete, read
from benchmarks.search.replay import Replay
from perftune.records.candidate import Candidate, Space
from perftune.records.probe import Objective
from perftune.records.summary import score
from perftune.records.trial import Purpose, Trial
from perftune.search import STRATEGIES, leader
from perftune.search.encoding import Encoding
from perftune.search.model import Beliefs
from perftune.search.race import HOPELESS

OBJECTIVE = Objective.SAMPLES_PER_SECOND
AFTER = 12
GOAL = 0.02
NUM_RACERS = 3
"""That are run in turns."""


class Play(NamedTuple):
    """One search on one landscape with one seed."""

    regrets: list[float]
    """After each trial; infinite while nothing that fits has completed."""
    num_candidates: int

    def regret_after(self, num_trials: int) -> float:
        """The regret after so many trials, or at the end of a shorter search."""
        return self.regrets[min(num_trials, len(self.regrets)) - 1]

    @property
    def num_trials_to_goal(self) -> int:
        """Trials until the regret was small enough for the first time."""
        return next((i + 1 for i, regret in enumerate(self.regrets) if regret <= GOAL), self.num_candidates)


def play(name: str, landscape: Landscape, truth: Truth, seed: int, noise: float = 1.0) -> Play:
    """Run a search on a landscape until it has both numbers."""
    strategy, replay = STRATEGIES[name](seed), Replay(landscape, seed, truth, noise)
    trials: list[Trial] = []
    regrets: list[float] = []
    space, purpose = landscape.space, Purpose.SEARCH
    total = space.num_candidates
    while len(trials) < total and (len(trials) < AFTER or min(regrets) > GOAL):
        candidate = None if purpose is Purpose.RACE else strategy.propose(space, trials, OBJECTIVE)
        if candidate is None and len(trials) >= AFTER:
            break
        if candidate is None:
            candidate, purpose = next_in_turns(space, trials), Purpose.RACE
        trials.append(replay.trial(candidate, len(trials), purpose))
        best = leader(space, trials, OBJECTIVE) if name == "model" else best_score(space, trials)
        regrets.append(math.inf if best is None else truth.regret(best))
    return Play(regrets, total)


def next_in_turns(space: Space, trials: Sequence[Trial]) -> Candidate:
    """Of the candidates that the model cannot tell from its best, the one that was run least often."""
    beliefs = Beliefs(Encoding(space), trials, OBJECTIVE, seed=0)
    expected, chance = beliefs.standing()
    ranked = sorted(expected, key=lambda row: expected[row])
    close = [row for row in ranked if row == beliefs.leader or chance[row] > HOPELESS][:NUM_RACERS]
    runs = [observation.row for observation in beliefs.observations]
    return beliefs.encoding.candidate(min(close, key=runs.count))


def best_score(space: Space, trials: Sequence[Trial]) -> Candidate | None:
    """The candidate with the best single score of those that fit."""
    fitting = [t for t in trials if t.measurement and t.measurement.memory.peak_bytes <= space.usable_memory_bytes]
    return max(fitting, key=lambda trial: score(trial, OBJECTIVE)).candidate if fitting else None


def table(landscapes: Sequence[Landscape], names: Sequence[str], num_seeds: int, noise: float = 1.0) -> str:
    """A row per landscape and search, and one per search over all."""
    figures = f"regret after {AFTER}: median | worst | trials to {GOAL:.0%}: median | mean"
    lines = [f"| landscape | candidates | search | {figures} |", "|---|---|---|---|---|---|---|"]
    everything: dict[str, list[Play]] = {name: [] for name in names}
    for number, landscape in enumerate(landscapes):
        truth = Truth(landscape)
        seeds = range(number * num_seeds, (number + 1) * num_seeds)  # or luck would repeat where the spaces are alike
        for name in names:
            plays = [play(name, landscape, truth, seed, noise) for seed in seeds]
            everything[name] += plays
            lines.append(_row(landscape.workload, str(plays[0].num_candidates), name, plays))
    return "\n".join(lines + [_row("all", "", name, plays) for name, plays in everything.items()])


def _row(what: str, size: str, name: str, plays: Sequence[Play]) -> str:
    regrets = [each.regret_after(AFTER) for each in plays]
    nums = [each.num_trials_to_goal for each in plays]
    return (
        f"| {what} | {size} | {name} | {median(regrets):.1%} | {max(regrets):.1%} "
        f"| {median(nums):.0f} | {sum(nums) / len(nums):.1f} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landscapes", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--noise", type=float, default=1.0, help="times the noise that was recorded")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES))
    options = parser.parse_args(arguments)
    landscapes = [read(path) for path in options.landscapes]
    for path, landscape in zip(options.landscapes, landscapes, strict=True):
        if not complete(landscape):
            raise SystemExit(f"{path}: not every candidate has been run; finish it with benchmarks.search.record")
    print(table(landscapes, options.strategies, options.seeds, options.noise))


if __name__ == "__main__":
    main()
