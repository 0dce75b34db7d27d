"""The variants of a space to those that are worth a trace, in the order in which a search is likely to need them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from perftune.planning.variants import VariantKey, variant_key
from perftune.records.candidate import Space
from perftune.records.prior import Predicted
from perftune.records.probe import Objective
from perftune.records.survey import Survey
from perftune.search.space import SLOW_HALF
from perftune.units import format_bytes

TIGHT = 0.7
"""Memory is tight when the largest predicted peak is above this part of what may be used: on a CPU predictions are a
quarter off (one standard deviation, see `search`), and no more was seen than a third."""
HALF_CHANGES, ATTENTION_CHANGES, CHECKPOINTING_CHANGES = 1.0, 1.5, 2.0
"""How late a variant comes that differs in this from the user's own: what gains most often comes first."""
NEEDED = 0.5
"""The same of checkpointing where the user's own arguments do not fit, or where memory is what is minimised."""


@dataclass(frozen=True)
class WorthTracing:
    """What is worth a trace, the user's own variant first, and why the others are not."""

    order: tuple[VariantKey, ...]
    left_out: dict[VariantKey, str] = field(default_factory=dict)


def worth_tracing(
    keys: Collection[VariantKey], space: Space, survey: Survey, objective: Objective, own: Sequence[Predicted] = ()
) -> WorthTracing:
    """Put variants in order.

    Args:
        keys: of all candidates.
        space: with the user's own candidate and the limit.
        survey: of the device that is here.
        objective: of the probe.
        own: what is predicted of the user's own variant, once it was traced.
    """
    assert space.device is not None
    mine = variant_key(space.base, space.device)
    peaks = [one.peak_memory_bytes for one in own]
    minimises_memory = objective is Objective.PEAK_MEMORY
    left_out: dict[VariantKey, str] = {}
    for key in keys:
        reason = _slow_half(survey) if key.is_half and not mine.is_half else None
        if key.checkpointing and not mine.checkpointing and not minimises_memory:
            reason = reason or _roomy(space, peaks)
        if reason:
            left_out[key] = reason
    needs_memory = minimises_memory or (bool(peaks) and _own_peak(space, own) > space.usable_memory_bytes)

    def lateness(key: VariantKey) -> float:
        half = HALF_CHANGES * (key.is_half != mine.is_half)
        attention = ATTENTION_CHANGES * (key.attention != mine.attention)
        is_needed = needs_memory and key.checkpointing
        checkpointing = (NEEDED if is_needed else CHECKPOINTING_CHANGES) * (key.checkpointing != mine.checkpointing)
        return half + attention + checkpointing

    return WorthTracing(tuple(sorted((key for key in keys if key not in left_out), key=lateness)), left_out)


def _slow_half(survey: Survey) -> str | None:
    if survey.half_slowdown < SLOW_HALF:
        return None
    return f"half precision was not traced: this CPU multiplies {survey.half_slowdown:.0f} times slower in it"


def _roomy(space: Space, peaks: Sequence[int]) -> str | None:
    if not peaks or max(peaks) > TIGHT * space.usable_memory_bytes:
        return None
    return (
        f"checkpointing was not traced: without it the largest micro-batch is predicted to need "
        f"{format_bytes(max(peaks))} of the {format_bytes(int(space.usable_memory_bytes))} that may be used"
    )


def _own_peak(space: Space, own: Sequence[Predicted]) -> float:
    """Of the user's own candidate, or of the least hungry one where its optimizer was not traced."""
    mine = [
        one.peak_memory_bytes
        for one in own
        if all(space.base.settings[name] == value for name, value in one.settings.items())
    ]
    return float(min(mine or [one.peak_memory_bytes for one in own]))
