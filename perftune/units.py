"""Parse and format bytes, seconds and rates; inside perftune only bytes and seconds exist. GiB = 2**30."""

import re

KIB = 2**10
MIB = 2**20
GIB = 2**30

_BYTES = re.compile(r"^\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z]*)\s*$")
_FACTORS = {
    "": 1, "b": 1,
    "kib": KIB, "mib": MIB, "gib": GIB, "tib": 2**40,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip


def parse_bytes(text: str | int) -> int:
    """Turn ``"4GiB"``, ``"500 MB"`` or a plain number of bytes into bytes.

    Raises:
        ValueError: the text is not a number with a known unit.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = _BYTES.match(str(text))
    factor = _FACTORS.get(match["unit"].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a size; write a number with B, KiB, MiB, GiB, TiB, KB, MB, GB or TB")
    return int(float(match["number"]) * factor)


def format_bytes(num_bytes: float) -> str:
    """``1610612736`` as ``"1.50 GiB"``."""
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(num_bytes) >= factor:
            return f"{num_bytes / factor:.2f} {unit}"
    return f"{num_bytes:.0f} B"


def format_seconds(seconds: float) -> str:
    """``0.0123`` as ``"12.3 ms"``, ``83`` as ``"1 min 23 s"``, ``5000`` as ``"1 h 23 min"``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_rate(per_second: float, what: str) -> str:
    """``(1234.5, "samples")`` as ``"1,234 samples/s"``; three digits are kept under 100."""
    digits = 0 if per_second >= 100 else 1 if per_second >= 10 else 2
    return f"{per_second:,.{digits}f} {what}/s"


def format_ratio(ratio: float) -> str:
    """``1.534`` as ``"1.53×"``."""
    return f"{ratio:.2f}×"


def format_percent(fraction: float) -> str:
    """``0.123`` as ``"+12.3 %"``; the sign is always shown."""
    return f"{fraction * 100:+.1f} %"
