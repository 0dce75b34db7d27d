"""Samples are what the sampler drew, whatever the batch looks like and whoever made the loader."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from perftune.measuring.drawn import Drawn


class Rows(Dataset[int]):
    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        return index


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(10))


class Uneven(Sampler[list[int]]):
    def __iter__(self) -> Iterator[list[int]]:
        yield from ([0, 1, 2], [3], [4, 5, 6, 7, 8])

    def __len__(self) -> int:
        return 3


def edges(rows: Sequence[int]) -> dict[str, Any]:
    """A graph batch: no tensor has a dimension of samples."""
    return {"edge_index": torch.zeros(2, 7 * len(rows), dtype=torch.long)}


def taken(loader: Any) -> list[tuple[int, ...] | None]:
    drawn = Drawn()
    drawn.watch(loader)
    return [drawn.take() for _ in loader]


UNEVEN = [(0, 1, 2), (3,), (4, 5, 6, 7, 8)]
FOURS = [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]


def test_a_batch_is_of_the_rows_that_were_drawn_for_it() -> None:
    assert taken(DataLoader(Rows(), batch_size=4, collate_fn=edges)) == FOURS
    shuffled = taken(DataLoader(Rows(), batch_size=4, drop_last=True, shuffle=True))
    assert [len(rows or ()) for rows in shuffled] == [4, 4]
    assert taken(DataLoader(Rows(), batch_sampler=Uneven(), collate_fn=edges)) == UNEVEN


def test_workers_draw_ahead_and_the_order_stays() -> None:
    loader = DataLoader(Rows(), batch_sampler=Uneven(), num_workers=1, multiprocessing_context="fork")
    assert taken(loader) == UNEVEN


def test_a_loader_that_accelerate_has_prepared_is_heard_too() -> None:
    accelerator = Accelerator(cpu=True)
    assert taken(accelerator.prepare(DataLoader(Rows(), batch_sampler=Uneven(), collate_fn=edges))) == UNEVEN
    plain = accelerator.prepare(DataLoader(Rows(), batch_size=4, collate_fn=edges))
    drawn = Drawn()
    drawn.watch(plain)
    for _ in range(2):  # another epoch
        assert [drawn.take() for _ in plain] == FOURS
    assert drawn.take() is None
    assert type(plain).__name__ == "DataLoaderShard"


def test_a_loader_stays_what_it_was() -> None:
    loader = DataLoader(Rows(), batch_size=4)
    Drawn().watch(loader)
    assert isinstance(loader, DataLoader)
    assert type(loader).__name__ == "DataLoader"
    assert len(loader) == 3
    assert [batch.tolist() for batch in loader] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Stream(), batch_size=4),
        DataLoader([{"x": torch.zeros(3)}], batch_size=None),  # type: ignore[arg-type]  # whole batches
        [{"x": torch.zeros(3)}],
    ],
)
def test_where_no_sampler_draws_nothing_is_told(loader: Any) -> None:
    assert set(taken(loader)) == {None}
