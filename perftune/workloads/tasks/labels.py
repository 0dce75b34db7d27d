"""The label column of the data to numbered classes."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from perftune.errors import WorkloadError
from perftune.records.probe import Task
from perftune.workloads.tasks.data import LABEL, Rows

MAX_CLASSES = 10_000
"""More distinct values than this are no classes: the column is a wrong one."""


class Labels(NamedTuple):
    """The classes of the data."""

    names: tuple[str, ...]
    numbers: dict[Any, int]
    """Value in the data -> number of the class."""

    def number(self, value: Any) -> int:
        """The class of a value.

        Raises:
            WorkloadError: the training data do not have it.
        """
        try:
            return self.numbers[value]
        except (KeyError, TypeError):
            raise WorkloadError(
                f"data.label_column: the label {value!r} is in the evaluation data and not in the training data; "
                f"known are {', '.join(self.names[:20])}"
            ) from None


def find_labels(rows: Rows, task: Task) -> Labels:
    """Number the labels that occur, in the order of their values; those that the data set names are taken from there.

    Raises:
        WorkloadError: a label is missing or cannot be a class, or there is only one.
    """
    column = rows.columns[LABEL]
    if rows.class_names is not None:
        return Labels(rows.class_names, {number: number for number in range(len(rows.class_names))})
    values = set(_values(rows, column, nested=task is Task.TOKEN_CLASSIFICATION))
    if not 2 <= len(values) <= MAX_CLASSES:
        raise WorkloadError(
            f"data.label_column: column {column!r} has {len(values)} different value{'' if len(values) == 1 else 's'} "
            f"({_some(values)}); "
            f"task {task.value} needs 2 to {MAX_CLASSES} classes"
        )
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    return Labels(tuple(str(value) for value in ordered), {value: number for number, value in enumerate(ordered)})


def _some(values: set[str | int]) -> str:
    shown = sorted(str(value) for value in values)
    return ", ".join(shown[:5]) + (", …" if len(shown) > 5 else "")


def _values(rows: Rows, column: str, *, nested: bool) -> Iterator[str | int]:
    for index in range(len(rows.train)):
        value = rows.train[index][column]
        for label in _as_list(value, column, index) if nested else [value]:
            if not isinstance(label, str | int) or label == "":
                raise WorkloadError(
                    f"data.label_column: sample {index} has {label!r} in column {column!r}; a label is a text or a "
                    "whole number (for a regression write a build function)"
                )
            yield label


def _as_list(value: Any, column: str, index: int) -> list[Any]:
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise WorkloadError(
            f"data.label_column: sample {index} has {value!r} in column {column!r}; token classification needs a list "
            "of labels, one for each word"
        )
    return [item.item() if hasattr(item, "item") else item for item in value]
