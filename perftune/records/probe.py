"""A probe: one declared investigation, as read from a ``model.yaml``."""

import hashlib
from enum import Enum
from typing import Any, Literal

from pydantic import Field

from perftune.records.base import Record, Setting
from perftune.records.candidate import Change


class Task(str, Enum):
    """What a model is trained for when no code is given."""

    CAUSAL_LM = "causal-lm"
    MASKED_LM = "masked-lm"
    SEQUENCE_CLASSIFICATION = "sequence-classification"
    TOKEN_CLASSIFICATION = "token-classification"  # noqa: S105 (no password)
    SEQ2SEQ = "seq2seq"
    IMAGE_CLASSIFICATION = "image-classification"


class Objective(str, Enum):
    """What the best candidate has most (or, for memory and cost, least) of."""

    SAMPLES_PER_SECOND = "samples_per_second"
    TOKENS_PER_SECOND = "tokens_per_second"
    PEAK_MEMORY = "peak_memory"
    COST = "cost"


class SyntheticData(Record):
    """Data made up on the spot, with a stated distribution of lengths."""

    num_samples: int = Field(default=2000, ge=1)
    distribution: Literal["fixed", "uniform", "lognormal"] = "lognormal"
    mean_length: int = Field(default=128, ge=1)
    """Tokens; the exact length for ``fixed``."""
    max_length: int = Field(default=512, ge=1)
    """Tokens; longer draws are cut."""
    sigma: float = Field(default=0.5, gt=0)
    """Spread of the logarithm of the length (``lognormal`` only)."""
    image_size: int = Field(default=32, ge=1)
    num_classes: int = Field(default=2, ge=2)
    seed: int = 0


class RealData(Record):
    """A ``datasets`` id or a local file (.jsonl, .json, .csv, .parquet, .txt)."""

    id: str | None = None
    name: str | None = None
    """Configuration of the data set."""
    path: str | None = None
    split: str = "train"
    eval_split: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    target_column: str | None = None
    max_length: int = Field(default=512, ge=1)
    num_samples: int | None = Field(default=None, ge=1)
    """Use only the first so many."""


class ModelWorkload(Record):
    """A workload without code."""

    model: str | None = None
    """A hub id or a local folder."""
    config: dict[str, Any] | None = None
    """An inline config with ``model_type``; weights are drawn at random."""
    tokenizer: str | None = None
    task: Task
    data: SyntheticData | RealData


class Target(Record):
    """Where to tune."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    count: int = Field(default=1, ge=1)
    memory_bytes: int | None = Field(default=None, ge=1)
    """None takes what the device has (CPU: what is available)."""
    headroom: float = Field(default=0.1, ge=0, lt=0.9)
    price_per_hour: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class Budget(Record):
    """How much the probe may spend."""

    trials: int = Field(default=100, ge=1)
    """All purposes counted, every contender of a heat too; minutes are what usually ends a study."""
    minutes: float = Field(default=15.0, gt=0, allow_inf_nan=False)


class ProbeSpec(Record):
    """The whole declaration, resolved: absolute paths, sizes in bytes."""

    name: str
    source_path: str
    """The file that it was read from, or ``<python>``."""
    build: str | None = None
    """``/absolute/path.py:function``; exactly one of build and workload is given."""
    workload: ModelWorkload | None = None
    training_arguments: dict[str, Any] = Field(default_factory=dict)
    global_batch_size: int = Field(ge=1)
    target: Target = Target()
    knobs: dict[str, tuple[Setting, ...]] = Field(default_factory=dict)
    """Values that the user named; knobs not named here take their defaults, those with one value are held."""
    allow: tuple[Change, ...] = (Change.SAME_MATH, Change.MIXED_PRECISION, Change.LOW_BIT_OPTIMIZER)
    objective: Objective = Objective.SAMPLES_PER_SECOND
    budget: Budget = Budget()
    loss_tolerance: float = Field(default=0.02, gt=0, allow_inf_nan=False)
    """How far the loss may lie from the reference, as a part of it."""
    worthwhile: float = Field(default=0.02, ge=0, allow_inf_nan=False)
    """The smallest gain that matters, as a part of the throughput."""
    seed: int = 0
    trust_remote_code: bool = False
    build_sha256: str | None = None
    """Digest of the file that `build` names."""

    @property
    def sha256(self) -> str:
        """Digest of everything that defines what is measured: the name, place and budget of the probe do not count."""
        text = self.model_dump_json(exclude={"name", "source_path", "budget"})
        return hashlib.sha256(text.encode()).hexdigest()
