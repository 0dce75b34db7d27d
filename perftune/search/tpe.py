"""Optuna's tree-structured Parzen estimator behind the same question, for comparison: trials in, next candidate out."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from perftune.records.candidate import MICRO_BATCH, Candidate, Space
from perftune.records.probe import Objective
from perftune.records.summary import score
from perftune.records.trial import Trial
from perftune.search.encoding import Encoding
from perftune.search.strategy import fits, in_space

if TYPE_CHECKING:
    import optuna

MAX_ASKS = 50
"""How often the sampler is asked again when it names a candidate that has been run."""


class TpeSearch:
    """The user's own candidate first, then what ``optuna.samplers.TPESampler`` suggests, each candidate once.

    The sampler is rebuilt from the trials at every call; candidates that failed or do not fit are told as being as poor
    as the worst. Settings are optuna's defaults (ten random trials first), with ``multivariate`` on.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def propose(self, space: Space, trials: Sequence[Trial], objective: Objective) -> Candidate | None:
        """The next suggestion that has not been run; None when all have been."""
        known = in_space(space, trials)
        encoding = Encoding(space)
        tried = {encoding.number(trial.candidate) for trial in known}
        if encoding.number(space.base) not in tried:
            return space.base
        if len(tried) == len(encoding):
            return None
        study = _replayed(space, known, objective, self._seed)
        for _ in range(MAX_ASKS):
            asked = study.ask(_distributions(space))
            candidate = _candidate(space, asked.params)
            if encoding.number(candidate) not in tried:
                return candidate
            study.tell(asked, 0.0)
        return next(encoding.candidate(number) for number in range(len(encoding)) if number not in tried)


def _distributions(space: Space) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    sizes = len(next(knob.values for knob in space.knobs if knob.name == MICRO_BATCH))
    return {
        knob.name: IntDistribution(0, sizes - 1)
        if knob.name == MICRO_BATCH
        else CategoricalDistribution(range(len(knob.values)))
        for knob in space.knobs
    }


def _params(space: Space, candidate: Candidate) -> dict[str, int]:
    return {knob.name: _ordered(knob.name, knob.values).index(candidate.settings[knob.name]) for knob in space.knobs}


def _candidate(space: Space, params: dict[str, int]) -> Candidate:
    return Candidate(settings={knob.name: _ordered(knob.name, knob.values)[params[knob.name]] for knob in space.knobs})


def _ordered(name: str, values: tuple[Any, ...]) -> list[Any]:
    """Micro-batches ascending, so that the sampler can see that neighbours are alike."""
    return sorted(values) if name == MICRO_BATCH else list(values)


def _mixed(seed: int, num_trials: int) -> int:
    """One number of both, alike for no two pairs: a sum would give seeds in a row the same draws, a trial apart."""
    return int(np.random.SeedSequence([seed, num_trials]).generate_state(1)[0])


def _replayed(space: Space, trials: Sequence[Trial], objective: Objective, seed: int) -> "optuna.Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=_mixed(seed, len(trials)), multivariate=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    completed = [score(trial, objective) for trial in trials if trial.measurement is not None]
    worst = min(completed, default=0.0)
    for trial in trials:
        value = score(trial, objective) if fits(space, trial) else worst
        study.add_trial(
            optuna.trial.create_trial(
                params=_params(space, trial.candidate),
                distributions=_distributions(space),
                value=value,
            )
        )
    return study
