"""Values of records to the words and cells that a document is made of."""

from collections.abc import Sequence

from perftune.printable import printable
from perftune.records.base import Setting
from perftune.records.candidate import MICRO_BATCH, OPTIMIZER, PRECISION, Candidate
from perftune.records.recommendation import Interval
from perftune.reports.document import Cell
from perftune.units import format_bytes, format_rate, format_seconds

MISSING = "–"
MAX_CHARACTERS = 400
TOLD_BY_VALUE = (PRECISION, OPTIMIZER)
"""Knobs whose values say which knob they are of."""


def clean(text: object, max_characters: int = MAX_CHARACTERS) -> str:
    """Printable, single spaces, of bounded length: what users and libraries call things is not ours."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= max_characters else flat[: max_characters - 1] + "…"


def value(setting: Setting) -> str:
    """A setting as YAML spells it."""
    if setting is None:
        return "not set"
    return str(setting).lower() if isinstance(setting, bool) else clean(setting)


def settings(candidate: Candidate, base: Candidate) -> str:
    """The micro-batch, and what else differs from the user's own."""
    changed = [
        value(setting) if name in TOLD_BY_VALUE else f"{clean(name)}={value(setting)}"
        for name, setting in candidate.settings.items()
        if name != MICRO_BATCH and base.settings.get(name) != setting
    ]
    return ", ".join([f"micro-batch {candidate.micro_batch}", *changed]) + (" (yours)" if candidate == base else "")


def interval(ratio: Interval) -> str:
    """``1.53× (1.49 to 1.57)``, or that one pair of runs gave no interval."""
    if ratio.high == float("inf"):
        return f"{ratio.value:.2f}× (one pair: no interval)"
    return f"{ratio.value:.2f}× ({ratio.low:.2f} to {ratio.high:.2f})"


def percent(fraction: float) -> str:
    """``0.02`` as ``2 %``."""
    return f"{fraction * 100:.3g} %"


def chance(probability: float) -> str:
    """A chance in whole per cent; what rounds to certainty is not called that."""
    if probability >= 0.995:
        return "more than 99 %"
    return "less than 1 %" if probability < 0.005 else f"{probability * 100:.0f} %"


def joined(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def counted(number: int, what: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def cells(*texts: str) -> tuple[Cell, ...]:
    """Cells that hold no number."""
    return tuple(Cell(text) for text in texts)


def bytes_cell(num_bytes: float | None) -> Cell:
    """Bytes, or a dash."""
    return Cell(MISSING) if num_bytes is None else Cell(format_bytes(num_bytes), num_bytes)


def signed_bytes_cell(num_bytes: float | None) -> Cell:
    """A difference in bytes with its sign, or a dash."""
    if num_bytes is None:
        return Cell(MISSING)
    return Cell(f"{'−' if num_bytes < 0 else '+'}{format_bytes(abs(num_bytes))}", num_bytes)


def seconds_cell(seconds: float | None) -> Cell:
    """Seconds, or a dash."""
    return Cell(MISSING) if seconds is None else Cell(format_seconds(seconds), seconds)


def rate_cell(per_second: float | None, mark: str = "") -> Cell:
    """A rate whose unit stands in the header or the row's name, or a dash."""
    if per_second is None:
        return Cell(MISSING)
    return Cell(format_rate(per_second, "").removesuffix(" /s") + mark, per_second)


def cost_cell(cost: float | None) -> Cell:
    """A cost in the currency of the price that the user gave, or a dash."""
    return Cell(MISSING) if cost is None else Cell(f"{cost:,.2f}", cost)
