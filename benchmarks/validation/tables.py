"""Scores to Markdown: means over sources, then each source, then each row, then what was left out."""

from collections.abc import Iterable, Sequence

from benchmarks.validation.rows import Row, usable
from benchmarks.validation.score import (
    THROUGHPUT,
    Errors,
    Predicted,
    errors_by_group,
    is_near,
    left_out,
    memory_errors,
    over_sources,
    predicted_bytes,
    predicted_rate,
    summary,
    throughput_error,
    verdicts,
)

GIB = 2**30
NONE = "–"


def markdown(rows: Sequence[Row], predictions: Iterable[Predicted]) -> str:
    """All tables; rows without a prediction are counted in the first line."""
    by_id = {predicted.id: predicted for predicted in predictions}
    used = [row for row in rows if usable(row)]
    known = [row for row in used if row["id"] in by_id]
    head = f"{len(rows)} published rows, {len(used)} usable, {len(known)} predicted."
    groups = errors_by_group(used, by_id)
    means = [[*key, *_cells(errors)] for key, errors in sorted(over_sources(groups).items())]
    sources = [[*group, *_cells(summary(errors))] for group, errors in sorted(groups.items())]
    shares = [[*key, *_shares(*each)] for key, each in sorted(verdicts(used, by_id).items())]
    each_row = [line for row in known for line in _row_lines(row, by_id[row["id"]])]
    missing = [[*key, str(count)] for key, count in sorted(left_out(rows).items())]
    error_columns = ["median error", "90th percentile", "bias"]
    return "\n\n".join(
        [
            head,
            "Means over sources:",
            table(["tier", "kind", "metric", "sources", *error_columns], means),
            "By source:",
            table(["source", "tier", "kind", "metric", "rows", *error_columns], sources),
            "Fits or out of memory, right of all; within 15 % of the GPU's memory apart:",
            table(["source", "tier", "kind", "clear", "near"], shares),
            "By row:",
            table(["row", "metric", "predicted", "published", "error"], each_row),
            "Left out:",
            table(["reason", "tier", "kind", "rows"], missing),
        ]
    )


def _cells(errors: Errors) -> list[str]:
    return [str(errors.num), f"{errors.median:.1%}", f"{errors.percentile_90:.1%}", f"{errors.bias:+.1%}"]


def _shares(right: int, total: int, near_right: int, near_total: int) -> list[str]:
    return [f"{right} of {total}", f"{near_right} of {near_total}" if near_total else NONE]


def _row_lines(row: Row, predicted: Predicted) -> list[list[str]]:
    lines = [
        [row["id"], kind, _predicted_memory(kind, predicted), _published_memory(row, kind), f"{error:+.1%}"]
        for kind, error in memory_errors(row, predicted).items()
    ]
    rate, error = row["throughput"] and predicted_rate(row, predicted), throughput_error(row, predicted)
    if rate is not None and error is not None:
        unit = row["throughput"]["unit"].replace("_per_second", "/s")
        lines.append(
            [row["id"], THROUGHPUT, f"{rate:.4g}", f"{row['throughput']['value']:.4g} {unit}", f"{error:+.1%}"]
        )
    if predicted.fits is not None and row["gpu"] is not None:
        said = ("fits" if predicted.fits else "oom") + (" (near)" if is_near(row, predicted) else "")
        right = predicted.fits == (row["outcome"] == "ok")
        lines.append([row["id"], "verdict", said, row["outcome"], "right" if right else "wrong"])
    return lines or [[row["id"], NONE, predicted.note or NONE, NONE, NONE]]


def _predicted_memory(kind: str, predicted: Predicted) -> str:
    least, most = predicted_bytes(kind, predicted)
    return _interval(least, most)


def _published_memory(row: Row, kind: str) -> str:
    if kind == row["memory_kind"]:
        return _interval(row["memory_low_bytes"], row["memory_high_bytes"])
    return _interval(row["also"][kind], row["also"][kind])


def _interval(low: int | None, high: int | None) -> str:
    if low is None or high is None:
        return NONE
    return f"{low / GIB:.2f} GiB" if low == high else f"{low / GIB:.2f} – {high / GIB:.2f} GiB"


def table(names: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Of Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [names, ["---"] * len(names), *lines])
