"""Rows and predictions to the goals of `perftune plan` and what is reached: an error is first taken within a source."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean
from typing import NamedTuple

from benchmarks.validation.baselines import accelerate_bytes, formula_bytes
from benchmarks.validation.rows import Row, usable
from benchmarks.validation.score import (
    Errors,
    Predicted,
    signed_error,
    summary,
    throughput_error,
    verdicts,
    within_bands,
)

RIGHT_VERDICTS = 0.97
WITHIN_BANDS = 0.9
TIMES_BETTER = 3.0
"""How much smaller the error should be than that of the usual estimates."""


class Goal(NamedTuple):
    """One line of the table."""

    what: str
    wanted: str
    reached: str
    is_met: bool


class Target(NamedTuple):
    """Rows that are judged together, and how small their errors should be."""

    what: str
    belongs: Callable[[Row], bool]
    error: Callable[[Row, Predicted], float | None]
    median: float
    percentile_90: float | None


TARGETS = (
    Target(
        "peak memory, one GPU, tier A",
        lambda row: row["kind"] == "memory" and row["tier"] == "A",
        signed_error,
        0.05,
        0.12,
    ),
    Target(
        "peak memory, one GPU, tier B",
        lambda row: row["kind"] == "memory" and row["tier"] == "B",
        signed_error,
        0.10,
        0.25,
    ),
    Target("peak memory, several GPUs", lambda row: row["kind"] == "sharded", signed_error, 0.08, None),
    Target("throughput, one GPU", lambda row: row["num_gpus"] == 1, throughput_error, 0.12, 0.30),
    Target("throughput, several GPUs", lambda row: row["num_gpus"] > 1, throughput_error, 0.15, None),
)


def errors_by_source(
    rows: Iterable[Row], predictions: Mapping[str, Predicted], target: Target
) -> dict[str, list[float]]:
    """Source -> signed errors of the rows that the target is about."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if usable(row) and row["id"] in predictions and target.belongs(row):
            error = target.error(row, predictions[row["id"]])
            if error is not None:
                found[row["source_key"]].append(error)
    return dict(found)


def mean_over_sources(by_source: Mapping[str, Sequence[float]]) -> Errors | None:
    """A source counts as much as another; None without any."""
    each = [summary(errors) for errors in by_source.values()]
    if not each:
        return None
    return Errors(
        len(each), mean(e.median for e in each), mean(e.percentile_90 for e in each), mean(e.bias for e in each)
    )


def goals(rows: Sequence[Row], predictions: Mapping[str, Predicted]) -> list[Goal]:
    """All of them, in order."""
    found = [_accuracy(rows, predictions, target) for target in TARGETS]
    return [*found, _verdicts(rows, predictions), *_bands(rows, predictions), *_better(rows, predictions)]


def _accuracy(rows: Sequence[Row], predictions: Mapping[str, Predicted], target: Target) -> Goal:
    by_source = errors_by_source(rows, predictions, target)
    reached = mean_over_sources(by_source)
    wanted = f"median ≤ {target.median:.0%}"
    if target.percentile_90 is not None:
        wanted += f", 90th percentile ≤ {target.percentile_90:.0%}"
    if reached is None:
        return Goal(target.what, wanted, "no rows", is_met=False)
    num_rows = sum(map(len, by_source.values()))
    said = f"{reached.median:.1%}, {reached.percentile_90:.1%} ({num_rows} rows, {reached.num} sources)"
    is_met = reached.median <= target.median
    if target.percentile_90 is not None:
        is_met = is_met and reached.percentile_90 <= target.percentile_90
    return Goal(target.what, wanted, said, is_met)


def _verdicts(rows: Sequence[Row], predictions: Mapping[str, Predicted]) -> Goal:
    each = verdicts(rows, predictions).values()
    right, total = sum(one.right for one in each), sum(one.total for one in each)
    near_right, near = sum(one.near_right for one in each), sum(one.near_total for one in each)
    share = right / total if total else 0.0
    said = f"{share:.1%} ({right} of {total}); near the boundary {near_right} of {near}"
    return Goal(
        "fits or out of memory, away from the boundary", f"≥ {RIGHT_VERDICTS:.0%} right", said, share >= RIGHT_VERDICTS
    )


def _bands(rows: Sequence[Row], predictions: Mapping[str, Predicted]) -> list[Goal]:
    """One for each band that is given to a row."""
    return [
        Goal(
            f"{what}, {kind}: figures within the error band of {band:.0%}",
            f"≥ {WITHIN_BANDS:.0%}",
            f"{num_within / total:.0%} ({num_within} of {total})",
            num_within / total >= WITHIN_BANDS,
        )
        for (what, kind, band), (num_within, total) in sorted(within_bands(rows, predictions).items())
    ]


def _better(rows: Sequence[Row], predictions: Mapping[str, Predicted]) -> list[Goal]:
    def by_formula(row: Row) -> int | None:
        num_trainable = predictions[row["id"]].num_trainable
        return None if num_trainable is None else formula_bytes(row, num_trainable)

    return [
        _ratio("`accelerate estimate-memory`", rows, predictions, accelerate_bytes),
        _ratio("a closed formula", rows, predictions, by_formula),
    ]


def _ratio(
    name: str, rows: Sequence[Row], predictions: Mapping[str, Predicted], estimate: Callable[[Row], int | None]
) -> Goal:
    """Both on the rows that the other one answers, one GPU or several."""
    theirs: dict[str, list[float]] = defaultdict(list)
    ours: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        own = signed_error(row, predictions[row["id"]]) if usable(row) and row["id"] in predictions else None
        guess = estimate(row) if own is not None else None
        if own is None or guess is None:
            continue
        other = signed_error(row, Predicted(row["id"], guess, guess, guess))
        if other is not None:
            ours[row["source_key"]].append(own)
            theirs[row["source_key"]].append(other)
    what, wanted = f"error of {name} over that of the prediction", f"≥ {TIMES_BETTER:.0f} times"
    mine, other_mean = mean_over_sources(ours), mean_over_sources(theirs)
    if mine is None or other_mean is None:
        return Goal(what, wanted, "no rows", is_met=False)
    times = other_mean.median / mine.median if mine.median else float("inf")
    num_rows = sum(map(len, ours.values()))
    said = f"{times:.1f} times: median {other_mean.median:.1%} against {mine.median:.1%} ({num_rows} rows)"
    return Goal(what, wanted, said, times >= TIMES_BETTER)
