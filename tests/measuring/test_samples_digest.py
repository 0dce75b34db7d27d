"""The same samples have one number, however they are padded, ordered and split; others have another."""

from typing import Any

import pytest
import torch

from perftune.measuring.samples_digest import samples_digest

SAMPLES = [[5, 6, 7], [8, 9], [5, 6, 7, 8], [1]]


def padded(samples: list[list[int]], length: int | None = None, prefix: str = "", **more: Any) -> dict[str, Any]:
    longest = length or max(map(len, samples))

    def rows(fill: int, values: list[list[int]]) -> torch.Tensor:
        return torch.tensor([row + [fill] * (longest - len(row)) for row in values])

    ones = [[1] * len(sample) for sample in samples]
    return {
        f"{prefix}input_ids": rows(0, samples),
        f"{prefix}labels": rows(-100, samples),
        f"{prefix}attention_mask": rows(0, ones),
        **more,
    }


def digest(batch: Any) -> int:
    found = samples_digest(batch)
    assert found is not None
    return found


def test_padding_order_and_splits_make_no_difference() -> None:
    whole = digest(padded(SAMPLES))
    assert digest(padded(SAMPLES, length=9)) == whole
    assert digest(padded(SAMPLES[::-1])) == whole
    assert digest(padded(SAMPLES[:1])) + digest(padded(SAMPLES[1:])) == whole


@pytest.mark.parametrize("other", [[[5, 6, 7], [8, 9], [5, 6, 7, 8], [2]], [*SAMPLES, [3]], SAMPLES[:3]])
def test_other_samples_make_one(other: list[list[int]]) -> None:
    assert digest(padded(other)) != digest(padded(SAMPLES))


def test_labels_count_and_their_padding_does_not() -> None:
    pixels, labels = torch.ones(2, 1, 4, 4), torch.tensor([[3, 4, -100], [5, -100, -100]])
    wider = torch.nn.functional.pad(labels, (0, 2), value=-100)
    found = digest({"pixel_values": pixels, "labels": labels})
    assert digest({"pixel_values": pixels, "labels": wider}) == found
    assert digest({"pixel_values": pixels, "labels": labels.flip(0)}) == found
    assert digest({"pixel_values": pixels, "labels": labels + 1}) != found
    assert digest({"pixel_values": 0 * pixels, "labels": labels}) != found


@pytest.mark.parametrize("prefix", ["anchor_", ""])
def test_each_mask_is_that_of_its_own_tensors(prefix: str) -> None:
    def batch(length: int) -> dict[str, Any]:
        return padded(SAMPLES, prefix=prefix) | padded(SAMPLES[::-1], length=length, prefix="other_")

    assert digest(batch(5)) == digest(batch(8))


def test_nested_and_listed_batches_are_read() -> None:
    def nested(length: int) -> dict[str, Any]:
        return {"a": padded(SAMPLES, length=length), "b": [padded(SAMPLES, length=7), {"label": torch.arange(4)}]}

    assert digest(nested(4)) == digest(nested(6))
    assert digest((torch.arange(4), torch.ones(4, 2))) != digest((torch.arange(4), torch.zeros(4, 2)))


def test_what_a_collator_makes_of_labels_adds_nothing() -> None:
    made = padded(SAMPLES, decoder_input_ids=torch.ones(4, 9, dtype=torch.long))
    assert digest(made) == digest(padded(SAMPLES))


def test_padding_without_a_mask_is_not_known_to_be_padding() -> None:
    ids = torch.tensor([[4, 5]])
    assert digest({"input_ids": ids}) != digest({"input_ids": torch.nn.functional.pad(ids, (0, 1))})


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.bfloat16, torch.float64])
def test_every_type_is_read(dtype: torch.dtype) -> None:
    assert digest({"x": torch.tensor([[1], [0]]).to(dtype)}) != digest({"x": torch.tensor([[1], [1]]).to(dtype)})


@pytest.mark.parametrize(
    "batch",
    [{}, {"text": ["a", "b"]}, None, {"x": torch.tensor(1)}, {"x": torch.ones(2, 3), "y": torch.ones(3)}],
)
def test_a_batch_without_one_sample_a_row_is_not_read(batch: Any) -> None:
    assert samples_digest(batch) is None


def test_an_empty_tensor_has_no_samples() -> None:
    assert samples_digest({"x": torch.ones(0, 3)}) is None
