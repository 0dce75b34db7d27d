"""Predictions and published rows to errors: like with like, first within a source, then averaged over the sources.

Errors are relative and signed: +0.1 is a prediction one tenth too high. A source with many rows counts as much as one
with few.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, median
from typing import NamedTuple

import numpy as np

from benchmarks.validation.rows import Row, gpu_memory_bytes, usable
from perftune.plan.bands import kind_of_setting

NEAR = 0.15
"""A predicted need within this part of the GPU's memory is near the boundary: its verdict is counted apart."""
UNKNOWN = "unknown"
THROUGHPUT = "throughput"


class Predicted(NamedTuple):
    """What was predicted for the row with the same id; None is not predicted."""

    id: str
    allocated_bytes: int | None = None
    """Peak of live tensors on one GPU."""
    reserved_bytes: int | None = None
    """Peak of what the caching allocator holds."""
    device_bytes: int | None = None
    """What NVML would show: reserved, the CUDA context and libraries."""
    fits: bool | None = None
    samples_per_second: float | None = None
    """Of one GPU."""
    tokens_per_second: float | None = None
    """Of one GPU."""
    memory_band: float | None = None
    """How far off the plan says that its memory may be."""
    time_band: float | None = None
    num_trainable: int | None = None
    """Trained parameters, which the closed formula is told."""
    note: str = ""


class Group(NamedTuple):
    """Rows that are scored together."""

    source: str
    tier: str
    kind: str
    metric: str
    """allocated, reserved, device, unknown or throughput."""


class Errors(NamedTuple):
    """Of a group, or the mean of these over sources."""

    num: int
    """Rows of a group; sources of a mean."""
    median: float
    """Of the absolute relative errors."""
    percentile_90: float
    bias: float
    """Median of the signed relative errors."""


class Verdicts(NamedTuple):
    """How many predictions of fits or out of memory were right."""

    right: int
    total: int
    near_right: int
    near_total: int
    """Of rows near the boundary, which are not in ``total``."""


def signed_error(row: Row, predicted: Predicted) -> float | None:
    """Of the row's own memory figure; None where there is none, or no prediction of its kind."""
    low, high = row["memory_low_bytes"], row["memory_high_bytes"]
    return None if low is None else _memory_error(row["memory_kind"], low, high, predicted)


def memory_errors(row: Row, predicted: Predicted) -> dict[str, float]:
    """By kind of memory, also of the further kinds that the same run measured."""
    found = {kind: _memory_error(kind, value, value, predicted) for kind, value in row["also"].items()}
    if row["memory_kind"] is not None:
        found[row["memory_kind"]] = signed_error(row, predicted)
    return {kind: error for kind, error in found.items() if error is not None}


def _memory_error(kind: str, low: int, high: int, predicted: Predicted) -> float | None:
    """An unknown kind may be anything from allocated to device memory."""
    least, most = predicted_bytes(kind, predicted)
    if least is None or most is None:
        return None
    if most < low:
        return most / low - 1
    return least / high - 1 if least > high else 0.0


def predicted_bytes(kind: str, predicted: Predicted) -> tuple[int | None, int | None]:
    """Least and most of the prediction for this kind of memory."""
    if kind == UNKNOWN:
        return predicted.allocated_bytes, predicted.device_bytes
    value = {
        "allocated": predicted.allocated_bytes,
        "reserved": predicted.reserved_bytes,
        "device": predicted.device_bytes,
    }[kind]
    return value, value


def throughput_error(row: Row, predicted: Predicted) -> float | None:
    """Relative and signed, in the published unit; None where either is missing."""
    if row["throughput"] is None:
        return None
    rate = predicted_rate(row, predicted)
    return None if rate is None else float(rate / row["throughput"]["value"] - 1)


def predicted_rate(row: Row, predicted: Predicted) -> float | None:
    """In the unit of the row; tokens of a row are those of its samples, without padding."""
    samples, tokens = predicted.samples_per_second, predicted.tokens_per_second
    if row["throughput"]["unit"] == "samples_per_second":
        return samples if samples is not None or tokens is None else tokens / row["seq_len"]
    return tokens if tokens is not None or samples is None else samples * row["seq_len"]


def is_near(row: Row, predicted: Predicted) -> bool:
    """Whether the predicted need is within NEAR of the GPU's memory."""
    memory = gpu_memory_bytes(row)
    need = predicted.device_bytes
    return memory is not None and need is not None and abs(need / memory - 1) <= NEAR


def errors_by_group(rows: Iterable[Row], predictions: Mapping[str, Predicted]) -> dict[Group, list[float]]:
    """The signed errors of the usable rows that have a prediction."""
    found: dict[Group, list[float]] = defaultdict(list)
    for row, predicted in _paired(rows, predictions):
        errors = dict(memory_errors(row, predicted))
        rate = throughput_error(row, predicted)
        if rate is not None:
            errors[THROUGHPUT] = rate
        for metric, error in errors.items():
            found[Group(row["source_key"], row["tier"], row["kind"], metric)].append(error)
    return dict(found)


def _paired(rows: Iterable[Row], predictions: Mapping[str, Predicted]) -> list[tuple[Row, Predicted]]:
    return [(row, predictions[row["id"]]) for row in rows if usable(row) and row["id"] in predictions]


def summary(errors: Sequence[float]) -> Errors:
    """Of one group's signed errors, at least one."""
    absolute = [abs(error) for error in errors]
    return Errors(len(errors), median(absolute), float(np.percentile(absolute, 90)), median(errors))


def over_sources(groups: Mapping[Group, Sequence[float]]) -> dict[tuple[str, str, str], Errors]:
    """(tier, kind, metric) -> the mean over sources of what ``summary`` says of each."""
    by_kind: dict[tuple[str, str, str], list[Errors]] = defaultdict(list)
    for group, errors in groups.items():
        by_kind[group.tier, group.kind, group.metric].append(summary(errors))
    return {
        key: Errors(
            len(each),
            mean(one.median for one in each),
            mean(one.percentile_90 for one in each),
            mean(one.bias for one in each),
        )
        for key, each in by_kind.items()
    }


def within_bands(
    rows: Iterable[Row], predictions: Mapping[str, Predicted]
) -> dict[tuple[str, str, float], tuple[int, int]]:
    """(memory or throughput, kind of setting, band) -> figures within the band that was given for them, and in all."""
    found: dict[tuple[str, str, float], tuple[int, int]] = {}
    for row, predicted in _paired(rows, predictions):
        rate = throughput_error(row, predicted)
        memory = memory_errors(row, predicted).values()
        kind = kind_of_setting(row["sharding"] if (row["num_gpus"] or 1) > 1 else "none")
        for what, band, errors in (
            ("memory", predicted.memory_band, memory),
            (THROUGHPUT, predicted.time_band, () if rate is None else (rate,)),
        ):
            if band is not None and errors:
                within, total = found.get((what, kind, band), (0, 0))
                within += sum(abs(error) <= band for error in errors)
                found[what, kind, band] = (within, total + len(errors))
    return found


def verdicts(rows: Iterable[Row], predictions: Mapping[str, Predicted]) -> dict[tuple[str, str, str], Verdicts]:
    """(source, tier, kind) -> verdicts; a row whose GPU is not known has none."""
    found: dict[tuple[str, str, str], Verdicts] = defaultdict(lambda: Verdicts(0, 0, 0, 0))
    for row, predicted in _paired(rows, predictions):
        if predicted.fits is None or row["gpu"] is None:
            continue
        key, near = (row["source_key"], row["tier"], row["kind"]), is_near(row, predicted)
        right = int(predicted.fits == (row["outcome"] == "ok"))
        change = Verdicts(right * (not near), int(not near), right * near, int(near))
        found[key] = Verdicts(*(a + b for a, b in zip(found[key], change, strict=True)))
    return dict(found)


def left_out(rows: Iterable[Row]) -> Counter[tuple[str, str, str]]:
    """(reason, tier, kind) -> how many rows are not used."""
    return Counter((row["unusable"], row["tier"], row["kind"]) for row in rows if not usable(row))
