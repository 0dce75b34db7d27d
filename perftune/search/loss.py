"""Runs on the same data with the same seed to the answer whether one's loss follows the other's. Pure."""

from collections.abc import Sequence
from statistics import mean, median

from perftune.intervals import series_interval
from perftune.records.gradients import GradientCheck
from perftune.records.recommendation import Interval, LossCheck
from perftune.records.trial import Trial
from perftune.search.gradients import compare_gradients

Series = Sequence[float]
"""The loss of consecutive optimizer steps, from the first on."""
CONFIDENCE, NUM_LOOKS = 0.95, 2
"""A check that is undecided is made once more, with more steps; together the two looks have this confidence."""
FEWEST = 3
"""Differences of which there is an interval: neighbours are alike, and how much so is estimated too."""
NUM_FIRST, ONE_SCALE = 3, (0.75, 1.33)
"""First steps whose losses are on one scale when the median of their ratios lies between these: dropout moves a first
loss by some per cent, one more accumulation step doubles it."""
MOST_NOISE = 5.0
"""A noisy loss passes when differences beyond so many tolerances are excluded (95 %) and none is seen."""


def relative_differences(candidate: Series, reference: Series) -> list[float]:
    """Candidate less reference, step by step, over the mean of the reference, in the second half of the common steps.

    The first half of a run differs least, whatever the settings: it starts from the same weights.
    """
    pairs = list(zip(candidate, reference, strict=False))
    later = pairs[len(pairs) // 2 :]
    scale = mean(abs(theirs) for _, theirs in later) if later else 0.0
    return [(ours - theirs) / (scale or 1.0) for ours, theirs in later]


def compare_losses(candidate: Trial, reference: Trial, tolerance: float) -> LossCheck:
    """Whether the loss and the first gradient of a candidate follow those of the reference; see `compare_series`.

    Raises:
        ValueError: one of the two did not complete, or fewer than five steps are common.
    """
    ours, theirs = candidate.measurement, reference.measurement
    if ours is None or theirs is None:
        raise ValueError("a loss is compared between completed trials")
    check = compare_series([(ours.steps.loss, theirs.steps.loss)], tolerance, (candidate.number, reference.number))
    return with_gradients(check, compare_gradients(ours.first_gradient, theirs.first_gradient))


def compare_series(pairs: Sequence[tuple[Series, Series]], tolerance: float, trials: tuple[int, int]) -> LossCheck:
    """Whether losses follow those of the reference, and are not higher by more than the tolerance.

    It passes when the whole interval of the mean relative difference lies below the tolerance. Several pairs are
    repetitions on the same data with the same seed, and no new evidence: they are averaged, step by step.

    Args:
        pairs: losses of the candidate and of the reference, step by step; as many steps as all have are compared.
        tolerance: how far the loss may lie above the reference's, as a part of it.
        trials: numbers of candidate and reference, for the record.

    Raises:
        ValueError: fewer than five steps are common.
    """
    num_steps = min((len(series) for pair in pairs for series in pair), default=0)
    each = [relative_differences(ours[:num_steps], theirs[:num_steps]) for ours, theirs in pairs]
    differences = [mean(at_step) for at_step in zip(*each, strict=True)]
    if len(differences) < FEWEST:
        raise ValueError("too few steps to compare losses")
    value, low, high = series_interval(differences, CONFIDENCE, NUM_LOOKS)
    is_below = high < -tolerance
    scale = another_scale(pairs)
    if scale is None and is_below:
        scale = _lower_from_the_start(pairs, value)
    return _told(
        LossCheck(
            num_steps=num_steps,
            relative_difference=Interval(value=value, low=low, high=high, confidence=CONFIDENCE),
            tolerance=tolerance,
            passed=scale is None and high <= tolerance,
            is_lower=scale is None and is_below,
            scale=scale,
            trials=trials,
        )
    )


def _lower_from_the_start(pairs: Sequence[tuple[Series, Series]], difference: float) -> float | None:
    """First loss over the reference's, when half of a difference is there in the first step: that was not learnt.

    Another micro-batch can change what the loss is, as where the negatives of a contrastive loss are from the batch.
    """
    first = mean((ours[0] - theirs[0]) / (abs(theirs[0]) or 1.0) for ours, theirs in pairs)
    return 1 + first if first <= difference / 2 else None


def with_gradients(check: LossCheck, gradients: GradientCheck | None) -> LossCheck:
    """The check with the comparison of the first gradients in it: it passes when both do."""
    passed = check.passed and (gradients is None or gradients.passed)
    return _told(check.model_copy(update={"gradients": gradients, "passed": passed}))


def is_undecided(check: LossCheck) -> bool:
    """Whether more steps could still tell: the interval reaches over the tolerance but does not lie beyond it."""
    interval = check.relative_difference
    is_told = check.scale is not None or (check.gradients is not None and not check.gradients.passed)
    return not check.passed and not is_told and interval.low <= check.tolerance


def allow_for_noise(check: LossCheck) -> LossCheck:
    """Let a check pass that noise keeps from being decided: not seen to be higher, nor by more than a few tolerances.

    Dropout and other random numbers fall differently on other micro-batches, so even two runs of equal quality differ.
    """
    interval = check.relative_difference
    if not is_undecided(check) or interval.low > 0 or interval.high > MOST_NOISE * check.tolerance:
        return check
    return _told(check.model_copy(update={"passed": True, "is_noisy": True}))


def another_scale(pairs: Sequence[tuple[Series, Series]]) -> float | None:
    """How many times larger the first losses are, when that is far from one: then the losses are not on one scale.

    Both start from the same weights, so that the settings have hardly had a part in it. A model that averages its loss
    over the micro-batch although the Trainer divides by nothing has a loss, and gradients, that grow with the
    accumulation steps.
    """
    first = [steps for pair in pairs for steps in list(zip(*pair, strict=False))[:NUM_FIRST]]
    ratios = [ours / theirs for ours, theirs in first if theirs]
    if not ratios:
        return None
    ratio = median(ratios)
    return None if ONE_SCALE[0] < ratio < ONE_SCALE[1] else ratio


def scaled_by_accumulation(candidate: Trial, reference: Trial) -> float | None:
    """The same of two trials; None also where one did not complete."""
    if candidate.measurement is None or reference.measurement is None:
        return None
    return another_scale([(candidate.measurement.steps.loss, reference.measurement.steps.loss)])


def _told(check: LossCheck) -> LossCheck:
    """The check with its sentence."""
    by = check.relative_difference
    figures = f"{by.value:+.2%} ({by.low:+.2%} to {by.high:+.2%}) over {check.num_steps} steps"
    allowed = f"the {check.tolerance:.1%} that are allowed"
    if check.gradients is not None and not check.gradients.passed:
        said = check.gradients.message
    elif check.scale is not None:
        said = f"the loss is {check.scale:.3g} times that of your own arguments from the first step on"
    elif check.is_lower:
        said = (
            f"the loss is lower than that of your own arguments, {figures}: it may be yours that learn less well, by "
            "their precision for example"
        )
    elif check.is_noisy:
        said = f"the loss is not seen to be higher, {figures}; it is too noisy to exclude {allowed}"
    elif check.passed:
        said = f"the loss follows that of your own arguments, {figures}, less than {allowed}"
    elif is_undecided(check):
        said = f"whether the loss is higher by more than {allowed} could not be told, {figures}"
    else:
        said = f"the loss is higher than that of your own arguments, {figures}, more than {allowed}"
    return check.model_copy(update={"message": said})
