"""A stop rule and the step times so far to the reason to stop, or to go on. Pure."""

from collections.abc import Sequence

from perftune.records.trial import StopRule
from perftune.statistics import median_interval, num_warmup_steps


def stop_reason(rule: StopRule, step_seconds: Sequence[float], exact_steps: int | None = None) -> str | None:
    """Why the trial has seen enough after these steps; None to go on.

    Args:
        rule: limits in steps and seconds, and the tightness that is enough.
        step_seconds: every measured optimizer step so far, warm-up included.
        exact_steps: when given, the only thing that counts.
    """
    num_steps = len(step_seconds)
    if exact_steps is not None:
        return "exact_steps" if num_steps >= exact_steps else None
    steady = step_seconds[num_warmup_steps(step_seconds) :]
    if len(steady) < rule.min_steps:
        return "max_steps" if num_steps >= rule.max_steps else None
    value, low, high = median_interval(steady)
    if rule.give_up_step_seconds is not None and low > rule.give_up_step_seconds:
        return "cannot_win"
    if high - low <= 2 * rule.relative_half_width * value:
        return "interval"
    if num_steps >= rule.max_steps:
        return "max_steps"
    return "max_seconds" if sum(step_seconds) >= rule.max_seconds else None
