"""The user's own data, after the user's own collator, to the samples that make the heaviest micro-batch. Child side."""

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from statistics import median
from typing import Any, NamedTuple

from torch.utils.data import IterableDataset
from transformers import Trainer

from perftune.records.survey import WorstSample
from perftune.workloads.batch_size import batch_size, num_elements, tensors

MAX_SAMPLES_WITHOUT_LENGTH = 2000
"""How far a data set without length is read."""
MAX_SCAN_SECONDS = 30.0
PAIR = 2


class Scan(NamedTuple):
    """What a scan of the data saw."""

    worst: tuple[WorstSample, ...]
    num_samples: int | None
    num_scanned: int
    mean_num_tokens: float | None
    num_tokens_by_percent: tuple[int, ...] = ()
    sample_seconds: float | None = None
    """To load and collate one sample, median: a busy machine lengthens some of them by much …"""
    sample_cpu_seconds: float | None = None
    """… and of that, what computes."""


class Source(NamedTuple):
    """Samples as the train loader sees them, and the function that makes a batch of them."""

    dataset: Any
    collate: Callable[[list[Any]], Any]


def train_source(trainer: Trainer) -> Source:
    """The data set and collator behind the Trainer's own train loader, with the user's overrides."""
    loader = trainer.get_train_dataloader()
    return Source(loader.dataset, loader.collate_fn)


def makes_batches(source: Source) -> bool:
    """Whether a batch of the loader has no tensors: then the Trainer makes them within its step, as GRPO does."""
    sample = next(iter(all_samples(source.dataset)), None)
    if sample is None:
        return False
    batch = source.collate([sample] * fewest(source, sample))
    return next(tensors(batch), None) is None


def num_rows(dataset: Any) -> int | None:
    """How many samples there are; None of data that has no length."""
    try:
        return None if isinstance(dataset, IterableDataset) else len(dataset)
    except TypeError:
        return None


def all_samples(dataset: Any) -> Iterator[Any]:
    """The samples in order; of data without length, no more than are scanned."""
    length = num_rows(dataset)
    if length is None:
        return islice(iter(dataset), MAX_SAMPLES_WITHOUT_LENGTH)
    return (dataset[index] for index in range(length))


def scan(
    source: Source,
    num_worst: int,
    clock: Callable[[], float] = time.monotonic,
    cpu_clock: Callable[[], float] = time.process_time,
) -> Scan:
    """Collate each sample alone, or with itself where the collator needs two, and rank by elements.

    Every sample of the data is looked at while the time lasts; the scan says how many that were.

    Args:
        source: where the samples come from.
        num_worst: how many of the heaviest to name, heaviest first.
        clock: seconds; a test passes its own.
        cpu_clock: seconds that this process has computed.
    """
    begun, begun_cpu = clock(), cpu_clock()
    deadline = begun + MAX_SCAN_SECONDS
    times = 1
    sizes: list[tuple[int, int, int]] = []
    took: list[tuple[float, float]] = []
    for index, sample in enumerate(all_samples(source.dataset)):
        times = times if sizes else fewest(source, sample)
        batch = source.collate([sample] * times)
        sizes.append((num_elements(batch) // times, index, batch_size(batch).num_tokens // times))
        now, now_cpu = clock(), cpu_clock()
        took.append((now - begun, now_cpu - begun_cpu))
        begun, begun_cpu = now, now_cpu
        if now > deadline:
            break
    worst = sorted(sizes, key=lambda size: (-size[0], size[1]))[:num_worst]
    num_tokens = sum(size[2] for size in sizes)
    return Scan(
        worst=tuple(WorstSample(index=index, num_tokens=tokens, num_elements=size) for size, index, tokens in worst),
        num_samples=num_rows(source.dataset),
        num_scanned=len(sizes),
        mean_num_tokens=num_tokens / len(sizes) if num_tokens else None,
        num_tokens_by_percent=_by_percent([size[2] for size in sizes]) if num_tokens else (),
        sample_seconds=median(wall for wall, _ in took) if took else None,
        sample_cpu_seconds=median(cpu for _, cpu in took) if took else None,
    )


def _by_percent(values: list[int]) -> tuple[int, ...]:
    """The values at 0 %, 1 %, … 100 %."""
    ordered = sorted(values)
    return tuple(ordered[round(percent / 100 * (len(ordered) - 1))] for percent in range(101))


def fewest(source: Source, sample: Any) -> int:
    """How many samples the collator needs: one, or two as those of contrastive losses do.

    Raises:
        Exception: what it raises of one, if it takes no two either.
    """
    try:
        source.collate([sample])
    except Exception:
        with contextlib.suppress(Exception):
            source.collate([sample] * PAIR)
            return PAIR
        raise
    return 1


def collate_worst(source: Source, indices: Sequence[int], micro_batch: int) -> Any:
    """The heaviest micro-batch: the given samples, repeated if the data has fewer, through the collator."""
    wanted = [indices[i % len(indices)] for i in range(micro_batch)]
    if num_rows(source.dataset) is not None:
        return source.collate([source.dataset[index] for index in wanted])
    found = {i: sample for i, sample in enumerate(islice(iter(source.dataset), max(wanted) + 1)) if i in set(wanted)}
    return source.collate([found[index] for index in wanted])


class WorstBatch:
    """The heaviest micro-batch of a trial, collated when it is first wanted: a collator may draw random numbers."""

    def __init__(self, collate: Callable[[], Any], num_micro_batches: int) -> None:
        """
        Args:
            collate: makes the micro-batch.
            num_micro_batches: of an optimizer step, over all processes.
        """
        self._collate, self._num_micro_batches = collate, num_micro_batches

    @cached_property
    def _micro_batch(self) -> Any:
        return self._collate()

    def batches(self, num_batches: int) -> list[Any]:
        """So many of it, each with memory of its own: in a real step all micro-batches are held at once."""
        return [_copied(self._micro_batch) for _ in range(num_batches)]

    def weight(self, mean_num_padded_tokens: float) -> float:
        """How many times as heavy a step of nothing else is as the mean step; 1 where there are no tokens to count."""
        if not mean_num_padded_tokens:
            return 1.0
        num_tokens = self._num_micro_batches * batch_size(self._micro_batch).num_padded_tokens
        return max(1.0, num_tokens / mean_num_padded_tokens)


def _copied(batch: Any) -> Any:
    try:
        return copy.deepcopy(batch)
    except Exception:  # noqa: BLE001 (an object of the user's that cannot be copied is the same in each micro-batch)
        return batch
