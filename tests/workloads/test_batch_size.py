"""What a micro-batch holds."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from transformers import BatchEncoding

from perftune.workloads.batch_size import batch_size, num_elements


def test_padding_is_no_token() -> None:
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    size = batch_size({"input_ids": torch.zeros(2, 4), "attention_mask": mask})
    assert (size.num_samples, size.num_padded_tokens, size.num_tokens) == (2, 8, 6)


def test_without_a_mask_every_position_is_a_token() -> None:
    assert batch_size({"input_ids": torch.zeros(3, 5)}).num_tokens == 15


def test_a_mask_of_another_shape_is_not_of_tokens() -> None:
    size = batch_size({"input_ids": torch.zeros(2, 4), "attention_mask": torch.zeros(2, 1, 4, 4)})
    assert size.num_tokens == 8


def test_packed_sequences_are_samples() -> None:
    positions = torch.tensor([[0, 1, 2, 0, 1, 0]])
    size = batch_size({"input_ids": torch.zeros(1, 6), "position_ids": positions})
    assert (size.num_samples, size.num_tokens) == (3, 6)


def test_position_ids_of_several_rows_are_no_packing() -> None:
    positions = torch.tensor([[0, 1], [0, 1]])
    assert batch_size({"input_ids": torch.zeros(2, 2), "position_ids": positions}).num_samples == 2


def test_images_have_samples_and_no_tokens() -> None:
    size = batch_size({"pixel_values": torch.zeros(7, 3, 8, 8), "labels": torch.zeros(7)})
    assert (size.num_samples, size.num_tokens) == (7, 0)


def test_an_unknown_batch_holds_nothing_that_can_be_counted() -> None:
    assert batch_size([1, 2]).num_samples == 0
    assert num_elements(None) == 0


def test_elements_of_all_tensors_make_the_size() -> None:
    encoding = BatchEncoding({"input_ids": torch.zeros(2, 4), "labels": torch.zeros(2), "name": "x"})
    assert num_elements(encoding) == 10


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


@dataclass
class Record:
    x: torch.Tensor
    y: torch.Tensor
    name: str = "a"


class Graph:
    """Holds its tensors a level below, and itself."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.store = {"x": x, "y": y}
        self.parent = self


@pytest.mark.parametrize("kind", [lambda x, y: (x, y), lambda x, y: [x, y], Pair, Record, Graph])
def test_a_batch_may_be_of_any_kind(kind: Any) -> None:
    batch = kind(torch.zeros(7, 3), torch.zeros(7))
    assert batch_size(batch).num_samples == 7
    assert num_elements(batch) == 28


def test_a_tensor_alone_is_a_batch() -> None:
    assert batch_size(torch.zeros(5, 2)).num_samples == 5


def test_tokens_of_two_towers_are_added_and_their_samples_are_not() -> None:
    towers = {
        "query": {"input_ids": torch.ones(4, 3), "attention_mask": torch.tensor([[1, 1, 0]] * 4)},
        "document": {"input_ids": torch.ones(4, 5)},
        "label": torch.zeros(4),
    }
    size = batch_size(towers)
    assert (size.num_samples, size.num_padded_tokens, size.num_tokens) == (4, 32, 28)
    assert num_elements(towers) == 12 + 12 + 20 + 4
