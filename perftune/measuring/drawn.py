"""How many samples each batch of a data loader has: what its sampler drew, whatever the collator makes of them.

The first dimension of a tensor says it of most batches, and not of graphs, nested batches or packed sequences.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset


class Drawn:
    """Numbers of samples of the batches to come, in the order in which they were drawn."""

    def __init__(self) -> None:
        self._numbers: deque[int] = deque()

    def take(self) -> int | None:
        """Of the next batch; None where no sampler drew it."""
        return self._numbers.popleft() if self._numbers else None

    def watch(self, loader: Any) -> None:
        """Listen to the sampler of a loader, in place.

        Nothing is heard of a loader that is not torch's, of a data set that is iterated (it has no sampler), and of one
        that hands out whole batches.
        """
        self._numbers.clear()
        inner = getattr(loader, "base_dataloader", loader)  # accelerate's loaders iterate over this one
        if not isinstance(inner, DataLoader) or isinstance(inner.dataset, IterableDataset):
            return
        if inner.batch_sampler is None:
            return
        own, numbers = type(inner), self._numbers

        class Watched(own):  # type: ignore[misc, valid-type]  # the user's own class of loader
            @property
            def _index_sampler(self) -> "_Listened":
                return _Listened(super()._index_sampler, numbers)

        Watched.__name__ = own.__name__
        inner.__class__ = Watched


class _Listened:
    """A batch sampler that tells the sizes of its batches."""

    def __init__(self, sampler: Any, numbers: deque[int]) -> None:
        self._sampler, self._numbers = sampler, numbers

    def __iter__(self) -> Iterator[Iterable[Any]]:
        for indices in self._sampler:
            self._numbers.append(len(indices))
            yield indices

    def __len__(self) -> int:
        return len(self._sampler)
