"""Rows of text or images to the inputs that the model of a task takes, not yet padded."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from perftune.errors import WorkloadError
from perftune.records.probe import Task
from perftune.workloads.tasks.data import LABEL, TARGET, TEXT
from perftune.workloads.tasks.labels import Labels
from perftune.workloads.tasks.loss import IGNORED
from perftune.workloads.tasks.samples import Row, Sample

Encode = Callable[[list[Row]], list[Sample]]


class TextEncoder:
    """Encodes text with a tokenizer, cut to what model and probe allow."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, columns: dict[str, str], max_length: int) -> None:
        self._tokenizer = tokenizer
        self._columns = columns
        self._options: dict[str, Any] = {"truncation": True, "max_length": max_length, "verbose": False}

    def _texts(self, rows: list[Row], key: str = TEXT) -> list[str]:
        values = (row[self._columns[key]] for row in rows)
        return ["" if value is None else str(value) for value in values]

    def text(self, rows: list[Row]) -> list[Sample]:
        """``input_ids`` alone, as a language model takes them."""
        ids = self._tokenizer(self._texts(rows), **self._options)["input_ids"]
        return [{"input_ids": sample} for sample in ids]

    def text_to_text(self, rows: list[Row]) -> list[Sample]:
        """``input_ids`` of the source and ``labels`` of the target."""
        targets = self._tokenizer(text_target=self._texts(rows, TARGET), **self._options)["input_ids"]
        return [{**sample, "labels": ids} for sample, ids in zip(self.text(rows), targets, strict=True)]

    def labelled(self, labels: Labels) -> Encode:
        """``input_ids`` and the class of the whole text."""

        def encode(rows: list[Row]) -> list[Sample]:
            samples = self.text(rows)
            numbers = [labels.number(row[self._columns[LABEL]]) for row in rows]
            return [{**sample, "labels": number} for sample, number in zip(samples, numbers, strict=True)]

        return encode

    def labelled_words(self, labels: Labels) -> Encode:
        """``input_ids`` of a list of words, and each word's class at its first token."""

        def encode(rows: list[Row]) -> list[Sample]:
            return [self._one_labelled(row, labels) for row in rows]

        return encode

    def _one_labelled(self, row: Row, labels: Labels) -> Sample:
        words, tags = list(row[self._columns[TEXT]]), list(row[self._columns[LABEL]])
        if len(words) != len(tags):
            raise WorkloadError(
                f"data: {len(words)} words in column {self._columns[TEXT]!r} and {len(tags)} labels in column "
                f"{self._columns[LABEL]!r} of one sample ({' '.join(map(str, words[:8]))} …); there should be as many"
            )
        encoded = self._tokenizer(words, is_split_into_words=True, **self._options)
        places = encoded.word_ids()
        first = [place is not None and place != before for place, before in zip(places, [None, *places], strict=False)]
        numbers = [
            labels.number(tags[place]) if is_first else IGNORED for place, is_first in zip(places, first, strict=True)
        ]
        return {"input_ids": encoded["input_ids"], "labels": numbers}


def image_encoder(columns: dict[str, str], labels: Labels, config: PreTrainedConfig) -> Encode:
    """Encode images, given as pictures or nested lists of pixels, to the size and the channels of the model.

    Pixels are scaled to -1…1; a model's own normalisation is left out, as it does not change what training costs.
    """
    height, width = image_size(config)
    channels = getattr(config, "num_channels", 3)

    def encode_one(row: Row) -> Sample:
        image = torch.as_tensor(_pixels(row[columns[TEXT]]), dtype=torch.float32)
        image = image.unsqueeze(-1) if image.ndim == 2 else image
        image = image.permute(2, 0, 1)
        image = image[:channels] if image.shape[0] >= channels else image[:1].expand(channels, -1, -1)
        scaled = 2 * image / image.max().clamp(min=1) - 1
        resized = interpolate(scaled.unsqueeze(0), size=(height, width), mode="bilinear").squeeze(0)
        return {"pixel_values": resized, "labels": labels.number(row[columns[LABEL]])}

    return lambda rows: [encode_one(row) for row in rows]


def _pixels(value: Any) -> Any:
    try:
        pixels = np.array(value, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise WorkloadError(f"data.text_column: an image is neither a picture nor rows of pixels ({error})") from error
    if pixels.ndim not in (2, 3):
        raise WorkloadError(
            f"data.text_column: an image has {pixels.ndim} dimensions; height × width (× channels) it is"
        )
    return pixels


def image_size(config: PreTrainedConfig, default: int = 224) -> tuple[int, int]:
    """Height and width that the model takes; a model that takes any gets the default."""
    size = getattr(config, "image_size", None) or default
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def text_encode(task: Task, encoder: TextEncoder, labels: Labels | None) -> Encode:
    """The encoding of a text task."""
    if task is Task.SEQ2SEQ:
        return encoder.text_to_text
    if labels is None:
        return encoder.text
    return encoder.labelled_words(labels) if task is Task.TOKEN_CLASSIFICATION else encoder.labelled(labels)
