"""What the trials say becomes bounds: how good each value not chosen could still be, and why it was not tried."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from perftune.records.base import Setting
from perftune.records.candidate import OPTIMIZER, WORKERS, Candidate, Space
from perftune.records.probe import Objective
from perftune.records.summary import score, step_interval
from perftune.records.trial import Trial
from perftune.search.encoding import Encoding
from perftune.search.model import SMALLEST_FIT, Beliefs
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


def bounds(space: Space, trials: Sequence[Trial], objective: Objective, seed: int = 0) -> list[Bound]:
    """For every value of every knob that the leader does not have: the leader with that value, its bound and why.

    In the order of the knobs; empty as long as nothing has completed.
    """
    known = in_space(space, trials)
    if not any(fits(space, trial) for trial in known):
        return []
    beliefs = Beliefs(Encoding(space), known, objective, seed)
    chosen = beliefs.encoding.candidate(beliefs.leader)
    reference = max(
        score(trial, objective) for trial in known if trial.candidate.key == chosen.key and fits(space, trial)
    )
    return [
        _bound(beliefs, chosen.replace(**{knob.name: value}), knob.name, value, reference)
        for knob in space.knobs
        for value in knob.values
        if value != chosen.settings[knob.name]
    ]  # fmt: skip


def _bound(beliefs: Beliefs, candidate: Candidate, name: str, value: Setting, reference: float) -> Bound:
    row = beliefs.encoding.number(candidate)
    assert row is not None
    impossible = _impossible(beliefs, row)
    if impossible:
        return Bound(candidate, 0.0, impossible)
    centre, low, high = beliefs.gain_interval(row)
    limited = _limited(beliefs, name)
    if limited and limited[0] < max(high, 0.02):
        return Bound(candidate, reference * math.exp(limited[0]), limited[1])
    tried = any(t.candidate.key == candidate.key and t.measurement is not None for t in beliefs.trials)
    how = "measured" if tried else "expected from the trials of its parts"
    what = "memory" if beliefs.objective is Objective.PEAK_MEMORY else "time"
    reason = (
        f"{name}={value}: {how} to take {-math.expm1(centre) * 100:+.1f} % of the {what} "
        f"({-math.expm1(high) * 100:+.1f} to {-math.expm1(low) * 100:+.1f} %)"
    )
    return Bound(candidate, reference * math.exp(high), reason)


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


def _limited(beliefs: Beliefs, name: str) -> tuple[float, str] | None:
    """Log gain if the only part that a knob works on cost nothing, in words; None for knobs of more than one part."""
    if name not in _ONLY_PART or beliefs.objective is Objective.PEAK_MEMORY:
        return None
    part, words = _ONLY_PART[name]
    runs = [o for o in beliefs.observations if o.row == beliefs.leader]
    share = float(np.median([np.exp(o.log_parts[PARTS.index(part)] - o.log_total) for o in runs]))
    if share > 0.5:
        return None
    return -math.log1p(-share), f"{words} is {share * 100:.1f} % of the step: another {name} cannot gain more"


def give_up_step_seconds(best: Trial | None, objective: Objective) -> float | None:
    """Seconds per optimizer step above which a trial may stop early, given the best so far; None: never."""
    if best is None or best.measurement is None or objective is Objective.PEAK_MEMORY:
        return None
    return GIVE_UP * step_interval(best.measurement).value
