"""Rows and a function that encodes them to a data set of model inputs."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from torch.utils.data import Dataset

Row: TypeAlias = dict[str, Any]
"""What the data hold, by column."""
Sample: TypeAlias = dict[str, Any]
"""Model inputs of one sample, not padded."""

MAX_EAGER = 20_000
"""Up to so many rows are encoded before training, as a user would; beyond, each when it is first asked for."""
CHUNK = 1000


class RowSource(Protocol):
    """Rows by number: a list, a ``datasets.Dataset`` or a part of one."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Row: ...


class Part:
    """Some of the rows, in a given order."""

    def __init__(self, rows: RowSource, indices: range) -> None:
        self.rows = rows
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int, /) -> Row:
        return self.rows[self._indices[index]]


class Samples(Dataset[Sample]):
    """Encoded rows. Nothing is cached on disk."""

    def __init__(self, rows: RowSource, encode: Callable[[list[Row]], list[Sample]]) -> None:
        self._rows = rows
        self._encode = encode
        self._known: dict[int, Sample] = {}
        if len(rows) <= MAX_EAGER:
            for start in range(0, len(rows), CHUNK):
                self._fill(range(start, min(start + CHUNK, len(rows))))

    def _fill(self, indices: Sequence[int]) -> None:
        samples = self._encode([self._rows[index] for index in indices])
        self._known |= dict(zip(indices, samples, strict=True))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        if index not in self._known:
            self._fill([index])
        return self._known[index]
