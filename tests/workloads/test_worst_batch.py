"""The heaviest samples are found through the user's own collator, and make the heaviest micro-batch."""

import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import torch
from torch.utils.data import IterableDataset

from perftune.workloads.batch_size import tensors
from perftune.workloads.worst_batch import MAX_SCAN_SECONDS, Source, WorstBatch, collate_worst, scan

LENGTHS = [3, 9, 2, 9, 5]


def collate(samples: list[list[int]]) -> dict[str, torch.Tensor]:
    longest = max(len(sample) for sample in samples)
    ids = torch.tensor([sample + [0] * (longest - len(sample)) for sample in samples])
    mask = torch.tensor([[1] * len(sample) + [0] * (longest - len(sample)) for sample in samples])
    return {"input_ids": ids, "attention_mask": mask}


def source() -> Source:
    return Source([[1] * length for length in LENGTHS], collate)


def test_the_longest_come_first_and_equal_ones_in_order() -> None:
    found = scan(source(), num_worst=3)
    assert [(sample.index, sample.num_tokens) for sample in found.worst] == [(1, 9), (3, 9), (4, 5)]
    assert [sample.num_elements for sample in found.worst] == [18, 18, 10]
    assert (found.num_samples, found.num_scanned) == (5, 5)
    assert found.mean_num_tokens == sum(LENGTHS) / len(LENGTHS)


def test_the_collator_decides_what_is_heavy() -> None:
    def cropping(samples: list[list[int]]) -> dict[str, torch.Tensor]:
        return collate([sample[:4] for sample in samples])

    assert [sample.index for sample in scan(Source(source().dataset, cropping), num_worst=2).worst] == [1, 3]
    assert scan(Source(source().dataset, cropping), num_worst=1).worst[0].num_tokens == 4


def test_a_scan_ends_when_its_time_is_over_and_says_how_far_it_came() -> None:
    ticks = count()
    found = scan(source(), num_worst=5, clock=lambda: next(ticks) * MAX_SCAN_SECONDS / 2)
    assert found.num_scanned == 3
    assert found.num_samples == 5


def test_the_micro_batch_is_filled_by_repeating_the_worst() -> None:
    batch: Any = collate_worst(source(), [1, 4], micro_batch=3)
    assert batch["input_ids"].shape == (3, 9)
    assert batch["attention_mask"].sum(dim=1).tolist() == [9, 5, 9]


class Stream(IterableDataset[list[int]]):
    def __iter__(self) -> Iterator[list[int]]:
        return iter([[1] * length for length in LENGTHS])


def test_a_stream_is_read_and_its_samples_found_again() -> None:
    stream = Source(Stream(), collate)
    found = scan(stream, num_worst=2)
    assert found.num_samples is None
    assert found.num_scanned == 5
    batch = collate_worst(stream, [sample.index for sample in found.worst], micro_batch=2)
    assert batch["attention_mask"].sum(dim=1).tolist() == [9, 9]


@pytest.mark.parametrize(("computing", "share"), [(0.0, 0.0), (0.02, 1.0)])
def test_a_scan_tells_what_a_sample_takes_and_how_much_of_it_computes(computing: float, share: float) -> None:
    """The median: a busy machine lengthens a few."""
    ticks, computed = count(), count()
    delays = {3: 5.0}
    late = [sum(delay for at, delay in delays.items() if at <= tick) for tick in range(50)]
    found = scan(
        source(),
        num_worst=1,
        clock=lambda: 0.02 * (tick := next(ticks)) + late[tick],
        cpu_clock=lambda: computing * next(computed),
    )
    assert found.sample_seconds == pytest.approx(0.02)
    assert found.sample_cpu_seconds == pytest.approx(share * found.sample_seconds)


def test_a_collator_that_needs_two_samples_gets_each_twice() -> None:
    def pairs(samples: list[Any]) -> Any:
        if len(samples) < 2:
            raise ValueError("contrastive batches need two samples")
        return collate(samples)

    found = scan(Source(source().dataset, pairs), num_worst=2)
    assert found.worst == scan(source(), num_worst=2).worst


def test_what_a_collator_raises_of_one_and_of_two_goes_through() -> None:
    def refuses(samples: list[Any]) -> Any:
        raise ValueError(f"no {len(samples)}")

    with pytest.raises(ValueError, match="no 1"):
        scan(Source(source().dataset, refuses), num_worst=1)


@pytest.mark.parametrize("batch", [(torch.zeros(2), torch.ones(2)), {"a": {"b": torch.zeros(2)}}, [torch.zeros(2)]])
def test_each_micro_batch_has_memory_of_its_own(batch: Any) -> None:
    first, second = WorstBatch(lambda: batch, 2).batches(2)
    assert type(first) is type(batch)
    pairs = list(zip(tensors(first), tensors(second), strict=True))
    assert pairs
    assert all(torch.equal(a, b) and a.data_ptr() != b.data_ptr() for a, b in pairs)


def test_what_cannot_be_copied_is_shared() -> None:
    batch = {"lock": threading.Lock(), "x": torch.zeros(2)}
    assert WorstBatch(lambda: batch, 2).batches(2) == [batch, batch]
