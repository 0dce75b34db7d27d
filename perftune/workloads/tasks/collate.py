"""Samples of different length to one padded batch, with the labels that the task trains on."""

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from perftune.errors import WorkloadError
from perftune.records.probe import Task
from perftune.workloads.tasks.loss import IGNORED
from perftune.workloads.tasks.samples import Sample

MASKED_PART = 0.15
REPLACED_PART = 0.8
RANDOM_PART = 0.5
"""BERT (arXiv:1810.04805, 3.1): 15 % are to be guessed; of these 80 % are masked, half of the rest drawn at random."""


def _pad(sequences: list[list[int]], value: int) -> torch.Tensor:
    return pad_sequence([torch.as_tensor(sequence) for sequence in sequences], batch_first=True, padding_value=value)


class PadCollator:
    """Pads to the longest sample of the batch, without a tokenizer."""

    def __init__(self, task: Task, model: PreTrainedModel, mask_token_id: int | None = None) -> None:
        text_config = model.config.get_text_config()
        self._task = task
        self._model = model if task is Task.SEQ2SEQ else None
        self._pad_token_id = int(model.config.pad_token_id or 0)
        self._vocab_size = int(text_config.vocab_size)
        self._mask_token_id = self._vocab_size - 1 if mask_token_id is None else mask_token_id

    def __call__(self, samples: list[Sample]) -> dict[str, torch.Tensor]:
        """A batch of ``input_ids``, ``attention_mask`` and ``labels``."""
        ids = _pad([sample["input_ids"] for sample in samples], self._pad_token_id)
        mask = _pad([[1] * len(sample["input_ids"]) for sample in samples], 0)
        batch = {"input_ids": ids, "attention_mask": mask}
        if self._task is Task.CAUSAL_LM:
            batch["labels"] = ids.masked_fill(mask == 0, IGNORED)
        elif self._task is Task.MASKED_LM:
            batch["input_ids"], batch["labels"] = self._masked(ids, mask)
        elif self._task is Task.SEQUENCE_CLASSIFICATION:
            batch["labels"] = torch.tensor([sample["labels"] for sample in samples])
        else:
            batch["labels"] = _pad([sample["labels"] for sample in samples], IGNORED)
        if self._model is not None:
            batch["decoder_input_ids"] = self._decoder_inputs(batch["labels"])
        return batch

    def _masked(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        guessed = (torch.rand(ids.shape) < MASKED_PART) & (mask == 1)
        guessed[:, 0] |= ~guessed.any()  # a batch without anything to guess has no loss
        labels = ids.masked_fill(~guessed, IGNORED)
        replaced = guessed & (torch.rand(ids.shape) < REPLACED_PART)
        random = guessed & ~replaced & (torch.rand(ids.shape) < RANDOM_PART)
        ids = ids.masked_fill(replaced, self._mask_token_id)
        return torch.where(random, torch.randint(self._vocab_size, ids.shape), ids), labels

    def _decoder_inputs(self, labels: torch.Tensor) -> torch.Tensor:
        shift = getattr(self._model, "prepare_decoder_input_ids_from_labels", None)
        if shift is None:
            raise WorkloadError(f"task: {type(self._model).__name__} cannot make decoder inputs from labels")
        shifted = shift(labels=labels)
        assert isinstance(shifted, torch.Tensor)
        return shifted


def collate_images(samples: list[Sample]) -> dict[str, torch.Tensor]:
    """A batch of ``pixel_values`` and ``labels``."""
    return {
        "pixel_values": torch.stack([sample["pixel_values"] for sample in samples]),
        "labels": torch.tensor([sample["labels"] for sample in samples]),
    }
