"""Two gradients, compared, to one sentence for the user. Pure."""

from perftune.records.gradients import GradientCheck, GradientSketch

SAME_FACTOR = 0.05
"""Two factors of groups are one within this part."""
SAME_CAUSE = 0.25
"""A factor is that of the accumulation steps within this part: dropout and unequal micro-batches are in it too."""
ALIKE = 0.99
"""Cosine from which two gradients have one direction: they differ in size alone."""
HARDLY = 1e-6
"""A group with no more than this part of the gradient has none but for rounding."""
IT = "the gradient of the first step"
GROWS = "it grows with the accumulation steps, so the loss is not divided by them"
SPLIT = (
    "; it hangs on how the step is split into micro-batches, as where each is averaged by itself, with batch norm, or "
    "with negatives from the batch"
)
SHRINKS = "it shrinks with the accumulation steps, so the loss is divided by them once too often"


def message(check: GradientCheck, candidate: GradientSketch, reference: GradientSketch) -> str:
    """What a comparison found: that they agree, by how much one is larger and why, or where they differ."""
    if not check.is_exact:
        return _inexact(check, candidate, reference)
    if check.passed:
        nearly, why = ("nearly ", SPLIT) if check.is_split else ("", "")
        return (
            f"{IT} is {nearly}that of your own arguments: {check.worst.relative_difference:.1g} of its length apart in "
            f"{check.worst.name}, where it is most; {check.tolerance:g} is allowed{why}"
        )
    differ = [group for group in check.groups if not group.passed]
    everywhere = _is_everywhere(check, reference)
    where = "every group" if everywhere else ", ".join(group.name for group in differ)
    factor = check.whole.norm_ratio if everywhere else differ[0].norm_ratio
    cause = _cause(factor, candidate, reference) if everywhere else ""
    if cause or all(group.cosine >= ALIKE and _close(group.norm_ratio, factor) for group in differ):
        return f"{IT} is {_times(factor)} that of your own arguments in {where}{cause}"
    worst = check.worst
    said = (
        f"{IT} is not that of your own arguments in {where}: in {worst.name} it is {_times(worst.norm_ratio)} "
        f"as large, and {worst.relative_difference:.2g} of its length apart, where {check.tolerance:g} is allowed"
    )
    return said if candidate.num_micro_batches == reference.num_micro_batches else f"{said}{SPLIT}"


def _is_everywhere(check: GradientCheck, reference: GradientSketch) -> bool:
    """Whether all groups differ, but for those that have hardly a gradient."""
    norms = {group.name: group.norm for group in reference.groups}
    return not any(group.passed and norms.get(group.name, 0.0) > HARDLY * reference.norm for group in check.groups)


def _inexact(check: GradientCheck, candidate: GradientSketch, reference: GradientSketch) -> str:
    factor = check.whole.norm_ratio
    said = f"{IT} is {_times(factor)} as large as that of your own arguments"
    if not check.passed:
        return f"{said}{_cause(factor, candidate, reference)}"
    drew = candidate.is_random or reference.is_random
    why = "random numbers are drawn in it" if drew else "it was not seen to be of the same samples"
    return f"{said}; {why}, so no more can be told"


def _cause(factor: float, candidate: GradientSketch, reference: GradientSketch) -> str:
    """The accumulation steps, where their quotient is about the factor."""
    quotient = candidate.num_micro_batches / reference.num_micro_batches
    if quotient != 1 and _close(factor, quotient, SAME_CAUSE):
        return f": {GROWS}"
    if quotient != 1 and _close(factor, 1 / quotient, SAME_CAUSE):
        return f": {SHRINKS}"
    return ""


def _close(value: float, expected: float, tolerance: float = SAME_FACTOR) -> bool:
    return abs(value - expected) <= tolerance * expected


def _times(factor: float) -> str:
    return (
        f"{factor:.1f} times" if factor >= 1.95 else f"{factor:.2f} times" if factor >= 0.1 else f"{factor:.2g} times"
    )
