"""What the trials say becomes bounds: how good each value not chosen could still be, and why it was not tried."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from perftune.records.base import Setting
from perftune.records.candidate import OPTIMIZER, WORKERS, Candidate, Space
from perftune.records.disturbance import undisturbed
from perftune.records.probe import Objective
from perftune.records.summary import score, step_interval
from perftune.records.trial import Trial
from perftune.search.encoding import Encoding, Floats
from perftune.search.model import CHANCE, SMALLEST_FIT, Beliefs
from perftune.search.observations import PARTS
from perftune.search.strategy import fits, in_space
from perftune.units import format_bytes

GIVE_UP = 1.5
"""A trial is stopped early once it is sure to be this many times slower than the best: so slow no drift excuses it."""

_ONLY_PART = {
    OPTIMIZER: ("optimizer", "the optimizer step"),
    WORKERS: ("data", "waiting for data"),
    "dataloader_prefetch_factor": ("data", "waiting for data"),
    "dataloader_pin_memory": ("data", "waiting for data"),
    "dataloader_persistent_workers": ("data", "waiting for data"),
}
"""Knobs that work on one part of the step alone, and that part in words."""


class Bound(NamedTuple):
    """How good a candidate could be at most, as far as the trials tell."""

    candidate: Candidate
    bound: float
    """Upper end of the 95 % interval of its score, in the units of ``records.summary.score``; 0: it cannot run."""
    reason: str


def bounds(
    space: Space, trials: Sequence[Trial], objective: Objective, worthwhile: float, seed: int = 0
) -> list[Bound]:
    """For every value of every knob that the leader does not have: the leader with that value, its bound and why.

    In the order of the knobs; empty as long as nothing has completed. No reason speaks for the candidate: where it may
    be better by more than is worthwhile, the reason is that it was not tried, or not often enough.

    Args:
        space: of the study.
        trials: so far.
        objective: what is made the most of.
        worthwhile: smallest relative gain that matters.
        seed: of the draws.
    """
    known = in_space(space, trials)
    if not any(fits(space, trial) for trial in known):
        return []
    beliefs = Beliefs(Encoding(space), known, objective, seed)
    chosen = beliefs.encoding.candidate(beliefs.leader)
    reference = max(
        score(trial, objective) for trial in known if trial.candidate.key == chosen.key and fits(space, trial)
    )
    others = [
        (chosen.replace(**{knob.name: value}), knob.name, value)
        for knob in space.knobs
        for value in knob.values
        if value != chosen.settings[knob.name]
    ]  # fmt: skip
    rows = [row for candidate, *_ in others if (row := beliefs.encoding.number(candidate)) is not None]
    gains = beliefs.gains_of(rows)
    return [
        _bound(beliefs, _Other(candidate, name, value, row, gains[:, i]), reference, worthwhile)
        for i, (row, (candidate, name, value)) in enumerate(zip(rows, others, strict=True))
    ]


class _Other(NamedTuple):
    """The leader with one value changed."""

    candidate: Candidate
    name: str
    value: Setting
    row: int
    gains: Floats
    """Draws of its log gain on the leader."""


def _bound(beliefs: Beliefs, other: _Other, reference: float, worthwhile: float) -> Bound:
    impossible = _impossible(beliefs, other.row)
    if impossible:
        return Bound(other.candidate, 0.0, impossible)
    gains = other.gains
    share, words = _only_part(beliefs, other.name)
    if share is not None:
        gains = np.minimum(gains, -math.log1p(-share))
        if share <= worthwhile:
            said = f"{words} is {share * 100:.1f} % of the step: another {other.name} cannot gain more"
            return Bound(other.candidate, reference / (1 - share), said)
    high = float(np.quantile(gains, 0.975))
    chance = float((gains > math.log1p(worthwhile)).mean() * beliefs.weight[other.row])
    tried = any(t.candidate.key == other.candidate.key and t.measurement is not None for t in beliefs.trials)
    reason = _reason(_interval(beliefs, gains), tried, chance if high > math.log1p(worthwhile) else 0.0, worthwhile)
    return Bound(other.candidate, reference * math.exp(high), f"{other.name}={other.value}: {reason}")


def _interval(beliefs: Beliefs, gains: Floats) -> str:
    what = "peak memory" if beliefs.objective is Objective.PEAK_MEMORY else "time of a step"
    low, high = np.quantile(gains, [0.025, 0.975])
    return f"the {what} by {_change(gains.mean())} % ({_change(high)} to {_change(low)} %)"


def _change(gain: float) -> str:
    """A log gain as what it makes of the cost, in per cent."""
    return f"{math.expm1(-gain) * 100:+.1f}"


def _reason(interval: str, tried: bool, chance: float, worthwhile: float) -> str:
    if tried:
        close = "; not told apart from what was chosen" if chance else ""
        return f"measured to change {interval}{close}"
    if chance > CHANCE:
        return f"not tried, the search ended before; it may change {interval}"
    unlikely = f"; a gain of more than {worthwhile:.0%} is unlikely ({chance:.0%})" if chance else ""
    return f"expected from the trials of its parts to change {interval}{unlikely}"


def _impossible(beliefs: Beliefs, row: int) -> str | None:
    if beliefs.memory.excluded[row]:
        return "runs out of memory: this micro-batch or a smaller one of the same or a thriftier setting did"
    if beliefs.weight[row] == 0:
        return "did not run"
    if beliefs.memory.fit_probability()[row] < SMALLEST_FIT:
        peak = beliefs.memory.peak_bytes()[0][row]
        usable = beliefs.encoding.space.usable_memory_bytes
        return f"predicted peak {format_bytes(float(peak))}, usable {format_bytes(usable)}"
    return None


def _only_part(beliefs: Beliefs, name: str) -> tuple[float | None, str]:
    """Share of the step of the only part that a knob works on, in words too; None where that bounds nothing."""
    if name not in _ONLY_PART or beliefs.objective is Objective.PEAK_MEMORY:
        return None, ""
    part, words = _ONLY_PART[name]
    runs = [o for o in beliefs.observations if o.row == beliefs.leader]
    share = float(np.median([np.exp(o.log_parts[PARTS.index(part)] - o.log_total) for o in runs]))
    return (share, words) if share <= 0.5 else (None, "")


def give_up_step_seconds(best: Trial | None, objective: Objective) -> float | None:
    """Seconds per optimizer step above which a trial may stop early, given the best so far; None: never."""
    if best is None or best.measurement is None or objective is Objective.PEAK_MEMORY:
        return None
    return GIVE_UP * step_interval(undisturbed(best.measurement)).value
