"""What a micro-batch holds."""

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
