"""The search: a space and the trials so far become the next candidate, the contenders of the race, and reasons.

Pure: no processes, no clock, no files. The same input always gives the same answer.
"""

from collections.abc import Callable

from perftune.search.baselines import GridSearch, RandomSearch
from perftune.search.bounds import Bound, bounds, give_up_step_seconds
from perftune.search.model import ModelSearch
from perftune.search.race import contenders, leader
from perftune.search.space import build_space, ruled_out
from perftune.search.strategy import Strategy
from perftune.search.tpe import TpeSearch

STRATEGIES: dict[str, Callable[[int], Strategy]] = {
    "model": ModelSearch,
    "tpe": TpeSearch,
    "random": RandomSearch,
    "grid": GridSearch,
}
"""Name -> strategy from a seed."""

__all__ = [
    "STRATEGIES",
    "Bound",
    "GridSearch",
    "ModelSearch",
    "RandomSearch",
    "Strategy",
    "TpeSearch",
    "bounds",
    "build_space",
    "contenders",
    "give_up_step_seconds",
    "leader",
    "ruled_out",
]
