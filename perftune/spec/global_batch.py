"""Batch sizes in a probe file to those that cannot make the global batch, with all that can."""

from collections.abc import Iterator
from typing import Any

from perftune.records.candidate import MICRO_BATCH
from perftune.spec.arguments import SECTION, Finding
from perftune.spec.file_form import MAX_GLOBAL_BATCH
from perftune.spec.messages import divisors, listed, nearest

ACCUMULATION = "gradient_accumulation_steps"


def _count(section: Any, name: str) -> int | None:
    """A whole number from 1 on, else None: other values are told of where types are checked."""
    value = section.get(name) if isinstance(section, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None


def check_batches(values: dict[str, Any]) -> Iterator[Finding]:
    """What does not divide: the global batch by the devices, or the share of a device by a micro-batch."""
    num_samples = _count(values, "global_batch_size")
    target = values.get("target", {})
    num_devices = _count(target, "count") if isinstance(target, dict) and "count" in target else 1
    if num_samples is None or num_samples > MAX_GLOBAL_BATCH or num_devices is None:
        return
    share, rest = divmod(num_samples, num_devices)
    if rest or not share:
        yield ("global_batch_size",), _indivisible(num_samples, num_devices)
        return
    where = f"the global batch {num_samples}" + (f" / {num_devices} devices" if num_devices > 1 else "")
    yield from _check_arguments(values.get(SECTION), share, where)
    yield from _check_knob(values.get("knobs"), share, where)


def _indivisible(num_samples: int, num_devices: int) -> str:
    below = num_samples - num_samples % num_devices
    near = [str(size) for size in (below, below + num_devices) if size]
    return (
        f"{num_samples} samples cannot be shared equally by target.count: {num_devices} devices. "
        f"Possible near it: {', '.join(near)}; or a count of {listed(divisors(num_samples), num_devices)}"
    )


def _check_arguments(arguments: Any, share: int, where: str) -> Iterator[Finding]:
    micro, steps = _count(arguments, MICRO_BATCH), _count(arguments, ACCUMULATION)
    if isinstance(arguments, dict):
        for name in (MICRO_BATCH, ACCUMULATION):
            value = arguments.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                yield (SECTION, name), f"{value} should be at least 1. Possible: {listed(divisors(share), 1)}"
    if micro is not None and steps is not None and micro * steps != share:
        pairs = ", ".join(f"{size} × {share // size}" for size in nearest(divisors(share), micro))
        made = f"{micro} × {ACCUMULATION} {steps} makes {micro * steps}, not {_spelled(where, share)}"
        yield (SECTION, MICRO_BATCH), f"{made}. Possible (micro-batch × accumulation): {pairs}"
    elif micro is not None and share % micro:
        yield (SECTION, MICRO_BATCH), _no_divisor(micro, share, where)
    elif micro is None and steps is not None and share % steps:
        yield (SECTION, ACCUMULATION), _no_divisor(steps, share, where)


def _no_divisor(number: int, share: int, where: str) -> str:
    return f"{number} does not divide {_spelled(where, share)}. Possible: {listed(divisors(share), number)}"


def _spelled(where: str, share: int) -> str:
    return f"{where} = {share}" if "/" in where else where


def _check_knob(knobs: Any, share: int, where: str) -> Iterator[Finding]:
    named = knobs.get(MICRO_BATCH) if isinstance(knobs, dict) else None
    for place, size in enumerate(named if isinstance(named, list) else [named]):
        if isinstance(size, int) and not isinstance(size, bool) and size >= 1 and share % size:
            path = ("knobs", MICRO_BATCH, place) if isinstance(named, list) else ("knobs", MICRO_BATCH)
            yield path, _no_divisor(size, share, where)
