"""The rows that each batch of a data loader is made of: what its sampler drew, whatever the collator makes of them.

The first dimension of a tensor says it of most batches, and not of graphs, nested batches or packed sequences.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset


class Drawn:
    """The rows of the batches to come, in the order in which they were drawn."""

    def __init__(self) -> None:
        self._rows: deque[tuple[Any, ...]] = deque()

    def take(self) -> tuple[Any, ...] | None:
        """Of the next batch, as their sampler names them; None where no sampler drew it."""
        return self._rows.popleft() if self._rows else None

    def watch(self, loader: Any) -> None:
        """Listen to the sampler of a loader, in place.

        Nothing is heard of a loader that is not torch's, of a data set that is iterated (it has no sampler), and of one
        that hands out whole batches.
        """
        self._rows.clear()
        inner = getattr(loader, "base_dataloader", loader)  # accelerate's loaders iterate over this one
        if not isinstance(inner, DataLoader) or isinstance(inner.dataset, IterableDataset):
            return
        if inner.batch_sampler is None:
            return
        own, rows = type(inner), self._rows

        class Watched(own):  # type: ignore[misc, valid-type]  # the user's own class of loader
            @property
            def _index_sampler(self) -> "_Listened":
                return _Listened(super()._index_sampler, rows)

        Watched.__name__ = own.__name__
        inner.__class__ = Watched


class _Listened:
    """A batch sampler that tells which rows it draws."""

    def __init__(self, sampler: Any, rows: deque[tuple[Any, ...]]) -> None:
        self._sampler, self._rows = sampler, rows

    def __iter__(self) -> Iterator[Iterable[Any]]:
        for indices in self._sampler:
            self._rows.append(tuple(indices))
            yield indices

    def __len__(self) -> int:
        return len(self._sampler)
