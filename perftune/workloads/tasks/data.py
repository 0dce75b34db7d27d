"""A ``datasets`` id or a local file to rows: those to train on, those held out, and which columns hold what."""

import csv
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from perftune.errors import WorkloadError
from perftune.records.probe import RealData, Task
from perftune.workloads.tasks.samples import Part, Row, RowSource

HELD_OUT = 0.05
"""Part of the rows that is kept for evaluation when no split is named."""

TEXT, LABEL, TARGET = "text_column", "label_column", "target_column"

DEFAULT_COLUMNS: dict[Task, dict[str, tuple[str, ...]]] = {
    Task.CAUSAL_LM: {TEXT: ("text", "content", "sentence")},
    Task.MASKED_LM: {TEXT: ("text", "content", "sentence")},
    Task.SEQUENCE_CLASSIFICATION: {TEXT: ("text", "content", "sentence"), LABEL: ("label", "labels")},
    Task.TOKEN_CLASSIFICATION: {TEXT: ("tokens", "words"), LABEL: ("ner_tags", "tags", "labels")},
    Task.SEQ2SEQ: {TEXT: ("text", "source", "input"), TARGET: ("target", "summary", "output")},
    Task.IMAGE_CLASSIFICATION: {TEXT: ("image", "img", "pixels"), LABEL: ("label", "labels")},
}
"""Columns that are taken, in this order, when the probe names none. Images are named by ``text_column`` too."""


class Rows(NamedTuple):
    """What the data hold."""

    train: RowSource
    held_out: RowSource
    columns: dict[str, str]
    """``text_column`` and the like -> the column's name."""
    class_names: tuple[str, ...] | None = None
    """Names of the labels, where the data set states them; labels are numbers then."""


def _read_json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise WorkloadError(f"data.path: {path}, line {number} is no JSON ({error})") from error
            if not isinstance(row, dict):
                raise WorkloadError(f"data.path: {path}, line {number} is {line.strip()[:40]!r} and not an object")
            yield row


def _read_json(path: Path) -> Iterator[Row]:
    text = path.read_text(encoding="utf-8")
    if not text.lstrip().startswith("["):
        yield from _read_json_lines(path)
        return
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise WorkloadError(f"data.path: {path} is no JSON ({error})") from error
    if not all(isinstance(row, dict) for row in rows):
        raise WorkloadError(f"data.path: {path} should hold a list of objects, one for each sample")
    yield from rows


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _read_parquet(path: Path) -> Iterator[Row]:
    yield from ({str(name): value for name, value in row.items()} for row in pd.read_parquet(path).to_dict("records"))


def _read_text(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        yield from ({"text": line.rstrip("\n")} for line in file if line.strip())


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _read_json_lines,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".txt": _read_text,
}


def read_local(path: Path, num_samples: int | None) -> list[Row]:
    """The rows of a local file.

    Args:
        path: .jsonl, .json, .csv, .parquet or .txt (a sample a line).
        num_samples: only the first so many; None: all.

    Raises:
        WorkloadError: there is no such file, or it cannot be read.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise WorkloadError(f"data.path: {path} ends in {path.suffix!r}; it can be one of {', '.join(READERS)}")
    if not path.is_file():
        raise WorkloadError(f"data.path: there is no file {path}")
    try:
        return list(islice(reader(path), num_samples))
    except (UnicodeDecodeError, OSError, csv.Error) as error:
        raise WorkloadError(f"data.path: {path} cannot be read: {error}") from error


def _load_split(data: RealData, split: str) -> Any:
    from datasets import load_dataset

    try:
        dataset = load_dataset(str(data.id), data.name, split=split)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise WorkloadError(
            f"data.id: the split {split!r} of {data.id!r} could not be loaded: the id, `name` or split is wrong, it "
            f"needs a login, or there is no network here ({reason}). "
            "Check the spelling, or name a local file with `path:`"
        ) from error
    return dataset if data.num_samples is None else Part(dataset, range(min(data.num_samples, len(dataset))))


def _columns(data: RealData, task: Task, row: Row) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, defaults in DEFAULT_COLUMNS[task].items():
        named = getattr(data, key)
        wanted = (named,) if named is not None else defaults
        column = next((name for name in wanted if name in row), None)
        if column is None:
            wish = f"no column {named!r}" if named is not None else f"none of the columns {', '.join(defaults)}"
            other = next((name for name in row if name not in found.values()), "…")
            raise WorkloadError(
                f"data.{key}: the data have {wish}, which task {task.value} needs. They have: {', '.join(row)}. "
                f"Name the one that is meant, such as `{key}: {other}`"
            )
        found[key] = column
    return found


def _class_names(dataset: Any, column: str | None) -> tuple[str, ...] | None:
    feature = getattr(getattr(dataset, "rows", dataset), "features", {}).get(column)
    names = getattr(getattr(feature, "feature", feature), "names", None)
    return tuple(names) if names else None


def load_rows(data: RealData, task: Task) -> Rows:
    """Read the data and hold out a part for evaluation, unless they have a split for that.

    Raises:
        WorkloadError: the data are not there, too few, or lack a column.
    """
    if (data.id is None) == (data.path is None):
        raise WorkloadError("data: give either `id:` (of the datasets library) or `path:` (a local file), and not both")
    if data.path is not None and data.eval_split is not None:
        raise WorkloadError(
            f"data.eval_split: a local file has no splits; leave it out and the last {HELD_OUT:.0%} are held out"
        )
    everything: RowSource = (
        read_local(Path(data.path), data.num_samples) if data.path else _load_split(data, data.split)
    )
    if len(everything) < 2:
        number = "1 sample" if len(everything) == 1 else "no samples"
        raise WorkloadError(f"data: {data.path or data.id} has {number}; at least 2 are needed")
    columns = _columns(data, task, everything[0])
    class_names = _class_names(everything, columns.get(LABEL))
    if data.eval_split is not None:
        return Rows(everything, _load_split(data, data.eval_split), columns, class_names)
    num_train = len(everything) - max(1, round(HELD_OUT * len(everything)))
    held_out = Part(everything, range(num_train, len(everything)))
    return Rows(Part(everything, range(num_train)), held_out, columns, class_names)
