"""A stated distribution of lengths to samples made up on the spot, the same each time, with something to be learnt."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedConfig

from perftune.errors import WorkloadError
from perftune.records.probe import SyntheticData, Task
from perftune.workloads.tasks.encode import image_size
from perftune.workloads.tasks.model import max_positions
from perftune.workloads.tasks.samples import Sample

MIN_LENGTH = 2
"""A causal language model learns nothing from one token."""
SHORTENED = 4
"""A seq2seq target is the start of its source, this many times shorter."""
SPECIAL_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")


def draw_lengths(data: SyntheticData, longest: int | None = None) -> npt.NDArray[np.int64]:
    """Lengths in tokens with the stated mean, before long ones are cut to ``max_length``.

    Args:
        data: ``fixed``: all the mean; ``uniform``: between 1 and twice the mean; ``lognormal``: with sigma, and
            mu = ln(mean) - sigma²/2, which gives that mean.
        longest: tokens that the model takes; None: no limit.
    """
    random = np.random.default_rng(data.seed)
    if data.distribution == "fixed":
        drawn = np.full(data.num_samples, float(data.mean_length))
    elif data.distribution == "uniform":
        drawn = random.integers(1, 2 * data.mean_length, size=data.num_samples).astype(float)
    else:
        mu = np.log(data.mean_length) - data.sigma**2 / 2
        drawn = random.lognormal(mu, data.sigma, size=data.num_samples)
    limit = min(data.max_length, longest or data.max_length)
    lengths: npt.NDArray[np.int64] = np.clip(np.rint(drawn), min(MIN_LENGTH, limit), limit).astype(np.int64)
    return lengths


class SyntheticTexts(Dataset[Sample]):
    """Random tokens; the labels follow from them."""

    def __init__(self, data: SyntheticData, task: Task, config: PreTrainedConfig) -> None:
        random = np.random.default_rng((data.seed, 1))
        special = {getattr(config, name, None) for name in SPECIAL_TOKENS}
        ordinary = [token for token in range(config.get_text_config().vocab_size) if token not in special]
        lengths = draw_lengths(data, max_positions(config))
        ids = random.choice(np.array(ordinary), size=int(lengths.sum()))
        pieces: Sequence[npt.NDArray[Any]] = np.split(ids, np.cumsum(lengths)[:-1])
        self._samples = [_labelled(piece.tolist(), task, data.num_classes) for piece in pieces]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]


def _labelled(ids: list[int], task: Task, num_classes: int) -> Sample:
    if task is Task.SEQUENCE_CLASSIFICATION:
        return {"input_ids": ids, "labels": ids[0] % num_classes}
    if task is Task.TOKEN_CLASSIFICATION:
        return {"input_ids": ids, "labels": [token % num_classes for token in ids]}
    if task is Task.SEQ2SEQ:
        return {"input_ids": ids, "labels": ids[: max(MIN_LENGTH, len(ids) // SHORTENED)]}
    return {"input_ids": ids}


class SyntheticImages(Dataset[Sample]):
    """Noise whose brightness tells the class; each image is drawn when it is asked for."""

    def __init__(self, data: SyntheticData, config: PreTrainedConfig) -> None:
        default = SyntheticData.model_fields["image_size"].default
        fixed = getattr(config, "image_size", None)
        height, width = image_size(config, data.image_size)
        if fixed and data.image_size not in (default, height):
            raise WorkloadError(
                f"data.image_size: {data.image_size} does not go with the model, which takes {height} × {width}; "
                "leave it out"
            )
        self._data = data
        self._shape = (getattr(config, "num_channels", 3), height, width)

    def __len__(self) -> int:
        return self._data.num_samples

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        generator = torch.Generator().manual_seed(self._data.seed * self._data.num_samples + index)
        label = index % self._data.num_classes
        noise = torch.randn(self._shape, generator=generator)
        return {"pixel_values": noise + label / self._data.num_classes, "labels": label}


def synthetic_samples(data: SyntheticData, task: Task, config: PreTrainedConfig) -> Dataset[Sample]:
    """Samples of a task; the lengths are those of `draw_lengths`."""
    if task is Task.IMAGE_CLASSIFICATION:
        return SyntheticImages(data, config)
    return SyntheticTexts(data, task, config)
