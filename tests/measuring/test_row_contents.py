"""A digest of what rows hold: the same for the same data, and none where that cannot be known."""

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset

from perftune.measuring.row_contents import contents_digest


def digest(data: Any) -> str | None:
    return contents_digest(SimpleNamespace(train_dataset=data))  # type: ignore[arg-type]  # all that is looked at


def rows(last: Any = 3) -> list[Any]:
    row = {"ids": [1, 2], "text": "a", "x": torch.ones(2), "y": np.zeros(3), "none": None, "pair": (1.5, True)}
    return [*({**row, "number": number} for number in range(7)), {**row, "number": last}]


def test_the_same_rows_have_the_same_digest() -> None:
    assert digest(rows()) == digest(rows()) is not None


@pytest.mark.parametrize("changed", [{"x": torch.zeros(2)}, {"x": torch.ones(2).double()}, {"ids": [12]}, {"y": 0}])
def test_another_content_of_one_row_that_is_looked_at_is_seen(changed: dict[str, Any]) -> None:
    other = rows()
    other[4] = {**other[4], **changed}
    assert digest(other) != digest(rows())


class Augmented:
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> float:
        return random.random() + np.random.rand() + float(torch.rand(()))  # noqa: NPY002


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(8))


@pytest.mark.parametrize("data", [None, [], Stream(), Augmented(), [object()] * 8])
def test_where_contents_are_not_known_there_is_none(data: Any) -> None:
    assert digest(data) is None


def test_random_numbers_that_rows_draw_are_put_back() -> None:
    def state() -> tuple[Any, ...]:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index, union-attr]  # noqa: NPY002

    before = state()
    digest(Augmented())
    assert state() == before
