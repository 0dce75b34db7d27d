"""A candidate to how many steps its loss is looked at for, and to the seconds that are kept for that."""

from perftune.records.candidate import OPTIMIZER, PRECISION, SAMPLING, Candidate
from perftune.tuning.comparisons import common_steps, longest_pair
from perftune.tuning.costs import steps_seconds
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
    """What two trials of so many steps take: of the user's own, and of the leader."""
    return sum(steps_seconds(loop.study, one, num_steps) for one in _pair(loop))


def kept_seconds(loop: Loop) -> float:
    """What the heats leave for the loss of the leader; nothing where a heat is long enough to tell it already."""
    own, best = _pair(loop)
    steps = loss_steps(best, own)
    longest = longest_pair(loop.study, best, own)
    if own == best or (longest is not None and common_steps(*longest) >= steps):
        return 0.0
    return min(loss_seconds(loop, steps), KEPT_SHARE * loop.spending.total_seconds)


def _pair(loop: Loop) -> tuple[Candidate, Candidate]:
    base = loop.study.space.base
    return base, loop.leader() or base
