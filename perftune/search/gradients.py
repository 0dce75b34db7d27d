"""Two gradients of a first optimizer step to the answer whether one is the other, and how it differs if not. Pure.

Losses cannot tell this alone: an optimizer like Adam hardly notices that all its gradients are 16 times as large, and
the loss that a training step returns need not be the one that it took the gradient of.
"""

import math

from perftune.records.gradients import GradientCheck, GradientSketch, GroupDifference, GroupSketch
from perftune.search.gradient_messages import message

TOLERANCES = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 0.2, "fp16": 0.1}
"""Relative difference of a group's gradient that is allowed, by the coarsest precision of the two."""
RANDOM_TOLERANCE = 0.4
"""Of the norm of the whole gradient, where samples or random choices are not the same."""
SMALLEST_SHARE = 0.01
"""A group's difference counts against its own norm, or against this part of the whole one where that is more: the
gradient of a key's bias in attention, for one, is zero but for rounding, and rounding is never alike."""


def compare_gradients(candidate: GradientSketch | None, reference: GradientSketch | None) -> GradientCheck | None:
    """Whether the first step of a candidate has the gradient of the reference's, group by group.

    Both are exact where the two steps were trained on the same samples and drew no random numbers. Else a gradient is
    one of many, and only its size is compared.

    Returns:
        None where one of the two was not kept or is not finite.
    """
    if candidate is None or reference is None or not (candidate.is_finite and reference.is_finite):
        return None
    is_exact = _have_same_samples(candidate, reference) and not (candidate.is_random or reference.is_random)
    tolerance = max(TOLERANCES[candidate.precision], TOLERANCES[reference.precision]) if is_exact else RANDOM_TOLERANCE
    floor = SMALLEST_SHARE * reference.norm
    pairs = _paired(candidate, reference)
    groups = tuple(_difference(*pair, floor, tolerance if is_exact else math.inf) for pair in pairs)
    whole = _whole(candidate, reference, groups, tolerance, is_exact)
    check = GradientCheck(
        groups=groups,
        whole=whole,
        tolerance=tolerance,
        is_exact=is_exact,
        passed=whole.passed and all(group.passed for group in groups),
        message="",
    )
    return check.model_copy(update={"message": message(check, candidate, reference)})


def could_be_exact(candidate: GradientSketch | None, reference: GradientSketch | None) -> bool:
    """Whether the two could be compared exactly if both were run again without dropout.

    That is where only random numbers stand between them. Such a run is of one step, in a process of its own, and
    leaves the measured runs as the user's are.
    """
    if candidate is None or reference is None:
        return False
    return _have_same_samples(candidate, reference) and (candidate.is_random or reference.is_random)


def _have_same_samples(candidate: GradientSketch, reference: GradientSketch) -> bool:
    return candidate.samples_digest is not None and candidate.samples_digest == reference.samples_digest


def _paired(candidate: GradientSketch, reference: GradientSketch) -> list[tuple[GroupSketch, GroupSketch]]:
    """The groups of both by name; what only one of them trains has a gradient of zero in the other."""
    ours, theirs = ({group.name: group for group in sketch.groups} for sketch in (candidate, reference))
    names = list(dict.fromkeys([*theirs, *ours]))
    return [(ours.get(n) or _without(theirs[n]), theirs.get(n) or _without(ours[n])) for n in names]


def _without(group: GroupSketch) -> GroupSketch:
    return group.model_copy(update={"norm": 0.0, "projection": (0.0,) * len(group.projection)})


def _distance(candidate: GroupSketch, reference: GroupSketch) -> float:
    """Length of the difference of two gradients, from their projections."""
    return math.dist(candidate.projection, reference.projection)


def _ratio(numerator: float, denominator: float) -> float:
    if denominator == 0:
        return 1.0 if numerator == 0 else math.inf
    return numerator / denominator


def _cosine(first: float, second: float, distance: float) -> float:
    """Of the angle between two sides of a triangle, by the law of cosines; 1 where one of them has no length."""
    if first == 0 or second == 0:
        return 1.0
    cosine = (first**2 + second**2 - distance**2) / (2 * first * second)
    return min(1.0, max(-1.0, cosine))


def _difference(candidate: GroupSketch, reference: GroupSketch, floor: float, tolerance: float) -> GroupDifference:
    distance = _distance(candidate, reference)
    relative = _ratio(distance, max(reference.norm, floor)) if distance else 0.0
    return GroupDifference(
        name=reference.name,
        num_parameters=reference.num_parameters,
        norm_ratio=_ratio(candidate.norm, reference.norm),
        relative_difference=relative,
        cosine=_cosine(candidate.norm, reference.norm, distance),
        passed=relative <= tolerance and candidate.num_parameters == reference.num_parameters,
    )


def _whole(
    candidate: GradientSketch,
    reference: GradientSketch,
    groups: tuple[GroupDifference, ...],
    tolerance: float,
    is_exact: bool,
) -> GroupDifference:
    distance = math.hypot(*(_distance(*pair) for pair in _paired(candidate, reference)))
    ratio = _ratio(candidate.norm, reference.norm)
    return GroupDifference(
        name="all",
        num_parameters=sum(group.num_parameters for group in groups),
        norm_ratio=ratio,
        relative_difference=_ratio(distance, reference.norm) if distance else 0.0,
        cosine=_cosine(candidate.norm, reference.norm, distance),
        passed=is_exact or 1 / (1 + tolerance) <= ratio <= 1 + tolerance,
    )
