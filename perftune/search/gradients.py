"""Two gradients of a first optimizer step to the answer whether one is the other, and how it differs if not. Pure.

Losses cannot tell this alone: an optimizer like Adam hardly notices that all its gradients are 16 times as large, and
the loss that a training step returns need not be the one that it took the gradient of.
"""

import math
from collections.abc import Sequence

from perftune.records.gradients import GradientCheck, GradientSketch, GroupDifference, GroupSketch
from perftune.search.gradient_messages import message

TOLERANCES = {"fp32": 1e-3, "tf32": 0.03, "bf16": 0.1, "fp16": 0.03}
"""Difference of a group's gradient over its length that is allowed, by the coarsest precision of the two. Measured on
the shipped probes, worst group: at most 2e-6 for other micro-batches, attention and checkpointing in fp32; 0.009 to
0.032 for bf16 autocast against fp32. Not measured: tf32 and fp16, whose mantissas are eight times as fine as bf16's."""
SPLIT_TOLERANCE = 0.2
"""The same where the step is split into another number of micro-batches and each is averaged by itself: then tokens of
short micro-batches weigh more. Measured with label smoothing (shipped seq2seq probe), worst group: 0.008, 0.07, 0.13
and 0.19 with 2, 4, 8 and 16 micro-batches; another dropout mask moves the same gradient by 0.7, and one micro-batch of
16 that is lost by 0.25."""
SPLIT_NORM = 0.05
"""And the norm of the whole by this part: 0.0004 to 0.026 there."""
RANDOM_TOLERANCE = 0.4
"""Of the norm of the whole gradient, where samples or random choices are not the same: other dropout masks moved it by
up to 0.08 on the shipped probes and 0.17 on a batch of eight short samples; one more accumulation step doubles it."""
SMALLEST_SHARE = 0.01
"""A group's difference counts against its own norm, or against this part of the whole one where that is more: the
gradient of a key's bias in attention, for one, is zero but for rounding, and rounding is never alike."""


def compare_gradients(candidate: GradientSketch | None, reference: GradientSketch | None) -> GradientCheck | None:
    """Whether the first step of a candidate has the gradient of the reference's, group by group.

    It has to where the two steps were trained on the same samples and drew no random numbers. Else a gradient is one
    of many: where two agree all the same that is told, and where they do not only their sizes are compared.

    Returns:
        None where one of the two was not kept or is not finite.
    """
    if candidate is None or reference is None or not (candidate.is_finite and reference.is_finite):
        return None
    exact = _compared(candidate, reference, _exact_tolerance(candidate, reference), is_exact=True)
    if exact.passed:
        return exact
    if candidate.is_random or reference.is_random or not _have_same_samples(candidate, reference):
        return _compared(candidate, reference, RANDOM_TOLERANCE, is_exact=False)
    return _nearly(candidate, reference) or exact


def _exact_tolerance(candidate: GradientSketch, reference: GradientSketch) -> float:
    """What rounding is allowed to do between the precisions of the two."""
    return max(TOLERANCES[candidate.precision], TOLERANCES[reference.precision])


def _nearly(candidate: GradientSketch, reference: GradientSketch) -> GradientCheck | None:
    """The check of a gradient that hangs on the split of the step, but hardly; None: it is not one."""
    if candidate.num_micro_batches == reference.num_micro_batches:
        return None
    check = _compared(candidate, reference, SPLIT_TOLERANCE, is_exact=True, is_split=True)
    is_near = check.passed and abs(check.whole.norm_ratio - 1) <= SPLIT_NORM
    return check if is_near else None


def is_hidden_by_chance(candidate: GradientSketch | None, reference: GradientSketch | None) -> bool:
    """Whether random numbers are all that keeps two gradients from being compared exactly.

    Both are then taken once more without dropout, in processes of their own and of one step, which leaves the measured
    runs as the user's are. Sizes that differ too much are told before that.
    """
    check = compare_gradients(candidate, reference)
    if candidate is None or reference is None or check is None:
        return False
    return check.passed and not check.is_exact and _have_same_samples(candidate, reference)


def _compared(
    candidate: GradientSketch, reference: GradientSketch, tolerance: float, *, is_exact: bool, is_split: bool = False
) -> GradientCheck:
    floor = SMALLEST_SHARE * reference.norm
    pairs = _paired(candidate, reference)
    groups = tuple(_difference(*pair, floor, tolerance if is_exact else math.inf) for pair in pairs)
    whole = _whole(candidate, reference, groups, tolerance, is_exact)
    check = GradientCheck(
        groups=groups,
        whole=whole,
        tolerance=tolerance,
        is_exact=is_exact,
        is_split=is_split,
        passed=whole.passed and all(group.passed for group in groups),
        message="",
    )
    return check.model_copy(update={"message": message(check, candidate, reference)})


def _have_same_samples(candidate: GradientSketch, reference: GradientSketch) -> bool:
    return candidate.samples_digest is not None and candidate.samples_digest == reference.samples_digest


def _paired(candidate: GradientSketch, reference: GradientSketch) -> list[tuple[GroupSketch, GroupSketch]]:
    """The groups of both by name; what only one of them trains has a gradient of zero in the other."""
    ours, theirs = ({group.name: group for group in sketch.groups} for sketch in (candidate, reference))
    names = list(dict.fromkeys([*theirs, *ours]))
    return [(ours.get(n) or _without(theirs[n]), theirs.get(n) or _without(ours[n])) for n in names]


def _without(group: GroupSketch) -> GroupSketch:
    return group.model_copy(update={"norm": 0.0, "projection": (0.0,) * len(group.projection)})


def _ratio(numerator: float, denominator: float) -> float:
    if denominator == 0:
        return 1.0 if numerator == 0 else math.inf
    return numerator / denominator


def _cosine(candidate: Sequence[float], reference: Sequence[float]) -> float:
    """Of the angle between two gradients, from their projections; 1 where one of them has no length."""
    lengths = math.hypot(*candidate) * math.hypot(*reference)
    product = sum(ours * theirs for ours, theirs in zip(candidate, reference, strict=True))
    return product / lengths if lengths else 1.0


def _difference(candidate: GroupSketch, reference: GroupSketch, floor: float, tolerance: float) -> GroupDifference:
    distance = math.dist(candidate.projection, reference.projection)
    relative = _ratio(distance, max(reference.norm, floor)) if distance else 0.0
    return GroupDifference(
        name=reference.name,
        num_parameters=reference.num_parameters,
        norm_ratio=_ratio(candidate.norm, reference.norm),
        relative_difference=relative,
        cosine=_cosine(candidate.projection, reference.projection),
        passed=relative <= tolerance and candidate.num_parameters == reference.num_parameters,
    )


def _whole(
    candidate: GradientSketch,
    reference: GradientSketch,
    groups: tuple[GroupDifference, ...],
    tolerance: float,
    is_exact: bool,
) -> GroupDifference:
    pairs = _paired(candidate, reference)
    ours, theirs = ([x for pair in pairs for x in pair[side].projection] for side in (0, 1))
    distance = math.dist(ours, theirs)
    ratio = _ratio(candidate.norm, reference.norm)
    return GroupDifference(
        name="all",
        num_parameters=sum(group.num_parameters for group in groups),
        norm_ratio=ratio,
        relative_difference=_ratio(distance, reference.norm) if distance else 0.0,
        cosine=_cosine(ours, theirs),
        passed=is_exact or 1 / (1 + tolerance) <= ratio <= 1 + tolerance,
    )
