"""A candidate to how many steps its loss is looked at for, and to the seconds that are kept for that."""

from perftune.records.candidate import OPTIMIZER, PRECISION, SAMPLING, Candidate
from perftune.records.trial import Purpose
from perftune.tuning.comparisons import pairs_of
from perftune.tuning.loop import Loop

SAME_MATH_STEPS, OTHER_STEPS = 10, 24
"""Steps after which the loss can be told: ten where the arithmetic of both is the same but for its order, as with
another micro-batch; more where rounding, the optimizer or the order of samples differ, which tells only later."""
OTHER_MATH = (PRECISION, OPTIMIZER, SAMPLING)
"""Knobs that change more than the order of the arithmetic."""
KEPT_SHARE = 0.2
"""No more than this part of the budget is kept for loss trials."""


def loss_steps(candidate: Candidate, reference: Candidate) -> int:
    """How many steps of both are compared first."""
    changed = (candidate.settings.get(knob) != reference.settings.get(knob) for knob in OTHER_MATH)
    return OTHER_STEPS if any(changed) else SAME_MATH_STEPS


def loss_seconds(loop: Loop, num_steps: int) -> float:
    """What two trials of so many steps take, from what the user's own and the leader took in the search."""
    return sum(_trial_seconds(loop, one, num_steps) for one in _pair(loop))


def kept_seconds(loop: Loop) -> float:
    """What the heats leave for the loss of the leader; nothing where a heat is long enough to tell it already."""
    own, best = _pair(loop)
    steps = loss_steps(best, own)
    if own == best or longest_heat(loop, best, own) >= steps:
        return 0.0
    return min(loss_seconds(loop, steps), KEPT_SHARE * loop.spending.total_seconds)


def longest_heat(loop: Loop, candidate: Candidate, reference: Candidate) -> int:
    """Most steps that both have taken in the same heat."""
    pairs = pairs_of(loop.study, candidate, reference)
    return max((min(len(t.measurement.steps) for t in pair if t.measurement) for pair in pairs), default=0)


def _pair(loop: Loop) -> tuple[Candidate, Candidate]:
    base = loop.study.space.base
    return base, loop.leader() or base


def _trial_seconds(loop: Loop, candidate: Candidate, num_steps: int) -> float:
    searched = [t for t in loop.study.of(candidate) if t.purpose is Purpose.SEARCH and t.measurement is not None]
    if not searched or searched[-1].measurement is None:
        return loop.trial_seconds()
    steps = searched[-1].measurement.steps.step_seconds
    pace = sorted(steps)[len(steps) // 2]
    return max(0.0, searched[-1].wall_seconds - sum(steps)) + num_steps * pace
