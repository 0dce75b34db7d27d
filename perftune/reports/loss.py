"""A comparison of losses and of first gradients to the points that say whether the same is learned."""

from perftune.records.candidate import PRECISION
from perftune.records.recommendation import LossCheck
from perftune.records.study import Study
from perftune.reports.document import Bullet
from perftune.reports.words import clean


def loss_bullets(study: Study, check: LossCheck, whose: str | None) -> list[Bullet]:
    """What was found, of the answer itself or of another candidate.

    Args:
        study: the trials that were compared are in it.
        check: the comparison with the user's own arguments, on the same data with the same seed.
        whose: whose loss it is, where it is not that of the answer.
    """
    of = f" of {whose}" if whose else ""
    bullets = [Bullet(f"{_loss(study, check)}.", f"Loss{of}")]
    if check.gradients is not None:
        bullets.append(Bullet(f"{clean(check.gradients.message)}.", f"Gradient{of}"))
    return bullets


def _loss(study: Study, check: LossCheck) -> str:
    by = check.relative_difference
    figures = f"over {check.num_steps} steps, {by.value * 100:+.2f} % ({by.low * 100:+.2f} to {by.high * 100:+.2f} %)"
    tolerance = f"{check.tolerance * 100:.1f} %"
    if check.scale is not None:
        return f"{check.scale:.3g} times that of your own arguments from the first step on, so it is not the same loss"
    if check.is_lower or by.value < -check.tolerance:
        return _lower(study, check)
    if check.is_noisy:
        return f"not seen to be higher {figures}; it is too noisy to exclude the tolerance of {tolerance}"
    if check.passed or by.high <= check.tolerance:
        return f"follows the reference {figures}, tolerance {tolerance}"
    if by.low <= check.tolerance:
        return f"whether it is higher by more than the tolerance of {tolerance} could not be told {figures}"
    return f"does not follow the reference {figures}, tolerance {tolerance}"


def _lower(study: Study, check: LossCheck) -> str:
    """It is no failure; and what of the user's own is doubtful where another setting reaches a lower loss."""
    by = check.relative_difference
    compared = next((trial.candidate for trial in study.trials if trial.number == check.trials[0]), None)
    own = study.space.base.settings.get(PRECISION)
    what = "precision" if compared is not None and compared.settings.get(PRECISION) != own else "setting"
    return (
        f"lower than your own by {-by.value * 100:.2f} % ({-by.high * 100:.2f} to {-by.low * 100:.2f} %) over "
        f"{check.num_steps} steps, which is beyond the tolerance of {check.tolerance * 100:.1f} %: "
        f"your own {what} may be the one that learns less well"
    )
