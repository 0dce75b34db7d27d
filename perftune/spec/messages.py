"""What is wrong with a probe file, collected, to the one message that the user gets."""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from perftune.errors import ProbeFileError

MAX_SHOWN = 60
"""Characters of a seen value."""
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
"""Text that would be a number without its quotes."""
MAX_LISTED = 24
"""Possible numbers that are listed."""

SYNONYMS = {
    "gpu": "cuda",
    "lr": "learning_rate",
    "epochs": "num_train_epochs",
    "batch_size": "global_batch_size",
    "micro_batch_size": "per_device_train_batch_size",
    "optimizer": "optim",
}
"""What users write -> what it is called here; a likeness of letters would not find some of them."""

KeyPath = tuple[str | int, ...]
"""Keys and positions from the top of the file, such as ``("knobs", "precision", 1)``."""


class Problem(NamedTuple):
    """One thing that is wrong, and where."""

    line: int | None
    """None: the file as a whole."""
    path: KeyPath
    text: str
    """The value seen, those allowed, and what to do."""


def spelled(path: KeyPath) -> str:
    """``("knobs", "precision", 1)`` as ``knobs.precision[1]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_word(part)}" for part in path).removeprefix(".")


def _word(key: str) -> str:
    return key if key.isprintable() and 0 < len(key) <= MAX_SHOWN else shown(key)


def shown(value: Any) -> str:
    """A value as it would be written in the file, cut to `MAX_SHOWN` characters."""
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=repr)
    text = text if text.isprintable() else json.dumps(value, default=repr)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def one_of(names: Iterable[str]) -> str:
    """``a, b or c``."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def did_you_mean(seen: Any, known: Iterable[str]) -> str:
    """`` Did you mean …?`` with the nearest known name, or nothing when none is near."""
    if not isinstance(seen, str):
        return ""
    names = list(known)
    near = [name for name in [SYNONYMS.get(seen)] if name in names]
    near = near or difflib.get_close_matches(seen[:MAX_SHOWN], names, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    small = [size for size in range(1, int(number**0.5) + 1) if number % size == 0]
    return sorted({*small, *(number // size for size in small)})


def nearest(numbers: list[int], near: float) -> list[int]:
    """The `MAX_LISTED` numbers that are nearest to the one seen (as a ratio), ascending."""
    return sorted(sorted(numbers, key=lambda number: max(number, near) / max(min(number, near), 0.5))[:MAX_LISTED])


def listed(numbers: list[int], near: float) -> str:
    """Numbers, ascending; of many the nearest to the one seen, with how many are left out."""
    kept = nearest(numbers, near)
    left_out = len(numbers) - len(kept)
    return ", ".join(str(number) for number in kept) + (f" (and {left_out} more)" if left_out else "")


def probe_file_error(source: str, problems: list[Problem]) -> ProbeFileError:
    """One error that names every problem, in the order of the file."""
    ordered = sorted(set(problems), key=lambda problem: (problem.line or 0, spelled(problem.path), problem.text))
    lines = [
        ": ".join(part for part in (f"line {line}" if line else "", spelled(path), text) if part)
        for line, path, text in ordered
    ]
    if len(lines) == 1:
        return ProbeFileError(f"{source}{', ' if ordered[0].line else ': '}{lines[0]}")
    return ProbeFileError("\n".join([f"{source} has {len(lines)} problems:", *(f"  {line}" for line in lines)]))
