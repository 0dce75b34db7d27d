"""Two runs on the same data with the same seed to the answer whether one's loss follows the other's. Pure."""

import math
from collections.abc import Sequence
from statistics import mean, median, stdev

from perftune.records.recommendation import Interval, LossCheck
from perftune.records.trial import Trial
from perftune.statistics import t_975

MOST_NOISE = 5.0
"""A noisy loss passes when differences beyond so many tolerances are excluded (95 %) and none is seen."""


def relative_differences(candidate: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Candidate less reference, step by step, over the mean of the reference, in the second half of the common steps.

    The first half of a run differs least, whatever the settings: it starts from the same weights.
    """
    pairs = list(zip(candidate, reference, strict=False))
    later = pairs[len(pairs) // 2 :]
    scale = mean(abs(slow) for _, slow in later) or 1.0
    return [(fast - slow) / scale for fast, slow in later]


def compare_losses(candidate: Trial, reference: Trial, tolerance: float) -> LossCheck:
    """Whether the loss of a candidate follows that of the reference.

    It passes when the whole 95 % interval of the mean relative difference lies within the tolerance.

    Raises:
        ValueError: one of the two did not complete, or fewer than four steps are common.
    """
    if candidate.measurement is None or reference.measurement is None:
        raise ValueError("a loss is compared between completed trials")
    differences = relative_differences(candidate.measurement.steps.loss, reference.measurement.steps.loss)
    if len(differences) < 2:
        raise ValueError("too few steps to compare losses")
    centre = mean(differences)
    half = t_975(len(differences) - 1) * stdev(differences) / math.sqrt(len(differences))
    return LossCheck(
        num_steps=min(len(candidate.measurement.steps), len(reference.measurement.steps)),
        relative_difference=Interval(value=centre, low=centre - half, high=centre + half),
        tolerance=tolerance,
        passed=abs(centre) + half <= tolerance,
        trials=(candidate.number, reference.number),
    )


def is_undecided(check: LossCheck) -> bool:
    """Whether more steps could still tell: the interval reaches into the tolerance but does not lie in it."""
    interval = check.relative_difference
    return not check.passed and interval.low <= check.tolerance and interval.high >= -check.tolerance


def allow_for_noise(check: LossCheck) -> LossCheck:
    """Let a check pass that noise keeps from being decided: no difference seen, and none beyond a few tolerances.

    Dropout and other random numbers fall differently on other micro-batches, so even two runs of equal quality differ.
    """
    interval = check.relative_difference
    within = max(abs(interval.low), abs(interval.high)) <= MOST_NOISE * check.tolerance
    if check.passed or not within or not interval.low <= 0 <= interval.high:
        return check
    return check.model_copy(update={"passed": True, "is_noisy": True})


def scaled_by_accumulation(candidate: Trial, reference: Trial) -> float | None:
    """How many times larger the first loss is, when that is far from one: then the losses are not on one scale.

    A model that averages its loss over the micro-batch although the Trainer divides by nothing has a loss, and
    gradients, that grow with the accumulation steps.
    """
    if candidate.measurement is None or reference.measurement is None:
        return None
    first, second = candidate.measurement.steps.loss[:3], reference.measurement.steps.loss[:3]
    if not first or not second or min(map(abs, second)) == 0:
        return None
    ratio = median(a / b for a, b in zip(first, second, strict=False))
    return ratio if not 0.75 < ratio < 1.33 else None
