"""A stop rule and the step times so far to the reason to stop, or to go on. Pure."""

from collections.abc import Sequence

from perftune.records.trial import StopRule
from perftune.statistics import median_interval, num_warmup_steps

CANNOT_WIN, HEAT_ENDED = "cannot_win", "heat_ended"


def stop_reason(
    rule: StopRule,
    step_seconds: Sequence[float],
    exact_steps: int | None = None,
    elapsed_seconds: float = 0.0,
    undisturbed_seconds: Sequence[float] | None = None,
    num_skipped: int = 0,
) -> str | None:
    """Why the trial has seen enough after these steps; None to go on.

    Args:
        rule: limits in steps and seconds, and the tightness that is enough.
        step_seconds: every measured optimizer step so far, warm-up included.
        exact_steps: when given, the only thing that counts beside the bounds of the trial as a whole.
        elapsed_seconds: since the trial was asked for.
        undisturbed_seconds: the steps without what disturbed them, which says how fast the candidate is; None: nothing
            has.
        num_skipped: of the steps, from the first on, those in which the gradient scaler left the optimizer out: they
            are no steps of training, and shorter than those.
    """
    if not step_seconds:
        return None
    quiet = step_seconds if undisturbed_seconds is None else undisturbed_seconds
    if rule.give_up_first_step_seconds is not None and quiet[0] > rule.give_up_first_step_seconds:
        return CANNOT_WIN
    if rule.max_wall_seconds is not None and elapsed_seconds + step_seconds[-1] > rule.max_wall_seconds:
        return "max_wall_seconds"
    if exact_steps is not None:
        return "exact_steps" if len(step_seconds) >= exact_steps else None
    return _seen_enough(rule, step_seconds[num_skipped:], quiet[num_skipped:])


def _seen_enough(rule: StopRule, step_seconds: Sequence[float], quiet: Sequence[float]) -> str | None:
    num_steps = len(step_seconds)
    steady = quiet[num_warmup_steps(quiet) :]
    if len(steady) < rule.min_steps:
        return "max_steps" if num_steps >= rule.max_steps else None
    value, low, high = median_interval(steady)
    if rule.give_up_step_seconds is not None and low > rule.give_up_step_seconds:
        return CANNOT_WIN
    if high - low <= 2 * rule.relative_half_width * value:
        return "interval"
    if num_steps >= rule.max_steps:
        return "max_steps"
    return "max_seconds" if sum(step_seconds) >= rule.max_seconds else None
