"""Two gradients, compared, to one sentence for the user. Pure."""

from perftune.records.gradients import GradientCheck, GradientSketch

SAME_FACTOR = 0.05
"""Two factors are one within this part."""
ALIKE = 0.99
"""Cosine from which two gradients have one direction: they differ in size alone."""
IT = "the gradient of the first step"
GROWS = "it grows with the accumulation steps, so the loss is not divided by them"
SHRINKS = "it shrinks with the accumulation steps, so the loss is divided by them once too often"


def message(check: GradientCheck, candidate: GradientSketch, reference: GradientSketch) -> str:
    """What a comparison found: that they agree, by how much one is larger and why, or where they differ."""
    if not check.is_exact:
        return _inexact(check, candidate, reference)
    if check.passed:
        return (
            f"{IT} is that of your own arguments: {check.worst.relative_difference:.1g} of its length apart in "
            f"{check.worst.name}, where it is most; {check.tolerance:g} is allowed"
        )
    factor = check.whole.norm_ratio
    if check.whole.cosine >= ALIKE and all(_close(g.norm_ratio, factor) for g in check.groups if not g.passed):
        where = "every group" if not any(group.passed for group in check.groups) else _names(check)
        return f"{IT} is {_times(factor)} that of your own arguments in {where}{_cause(factor, candidate, reference)}"
    worst = check.worst
    return (
        f"{IT} is not that of your own arguments in {_names(check)}: in {worst.name} it is {_times(worst.norm_ratio)} "
        f"as large, and {worst.relative_difference:.2g} of its length apart, where {check.tolerance:g} is allowed"
    )


def _inexact(check: GradientCheck, candidate: GradientSketch, reference: GradientSketch) -> str:
    factor = check.whole.norm_ratio
    said = f"{IT} is {_times(factor)} as large as that of your own arguments"
    if not check.passed:
        return f"{said}{_cause(factor, candidate, reference, check.tolerance)}"
    drew = candidate.is_random or reference.is_random
    why = "random numbers are drawn in it" if drew else "it was not seen to be of the same samples"
    return f"{said}; {why}, so no more can be told"


def _cause(factor: float, candidate: GradientSketch, reference: GradientSketch, tolerance: float = SAME_FACTOR) -> str:
    """The accumulation steps, where their quotient is the factor."""
    quotient = candidate.num_micro_batches / reference.num_micro_batches
    if quotient != 1 and _close(factor, quotient, tolerance):
        return f": {GROWS}"
    if quotient != 1 and _close(factor, 1 / quotient, tolerance):
        return f": {SHRINKS}"
    return ""


def _close(value: float, expected: float, tolerance: float = SAME_FACTOR) -> bool:
    return abs(value - expected) <= tolerance * expected


def _times(factor: float) -> str:
    return f"{factor:.1f} times" if factor >= 1 else f"{factor:.2g} times"


def _names(check: GradientCheck) -> str:
    return ", ".join(group.name for group in check.groups if not group.passed)
