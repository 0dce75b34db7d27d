"""Knobs, and candidates: one setting of all knobs, spelled in TrainingArguments field names."""

import json
import math
from collections.abc import Iterator
from enum import Enum
from itertools import product
from typing import Any

from pydantic import Field

from perftune.records.base import Record, Setting
from perftune.records.device import Device
from perftune.records.prior import Prior

MICRO_BATCH = "per_device_train_batch_size"
PRECISION = "precision"
ATTENTION = "attn_implementation"
CHECKPOINTING = "activation_checkpointing"
OPTIMIZER = "optim"
COMPILE = "torch_compile"
WORKERS = "dataloader_num_workers"
SAMPLING = "train_sampling_strategy"
CUDA_ALLOCATOR = "cuda_allocator"

NOT_ARGUMENTS = {ATTENTION, CUDA_ALLOCATOR}
"""Knobs that are no TrainingArguments field: the first is set on the model, the second in the environment."""

PRECISIONS: dict[str, dict[str, bool]] = {
    "fp32": {"fp16": False, "bf16": False},
    "tf32": {"fp16": False, "bf16": False, "tf32": True},
    "bf16": {"fp16": False, "bf16": True},
    "fp16": {"fp16": True, "bf16": False},
}
"""What each value of the one composite knob, ``precision``, sets."""


class Change(str, Enum):
    """What a knob can change about training, from nothing to the order of the data."""

    SAME_MATH = "same-math"
    MIXED_PRECISION = "mixed-precision"
    LOW_BIT_OPTIMIZER = "low-bit-optimizer"
    DATA_ORDER = "data-order"


class Knob(Record):
    """One tunable and the values that it may take here; the first value is the user's own."""

    name: str
    values: tuple[Setting, ...] = Field(min_length=1)


class Candidate(Record):
    """One setting of all knobs."""

    settings: dict[str, Setting]

    @property
    def key(self) -> str:
        """The identity of the candidate: canonical JSON of its settings."""
        return json.dumps(self.settings, sort_keys=True)

    @property
    def micro_batch(self) -> int:
        """Samples per device and forward pass."""
        value = self.settings[MICRO_BATCH]
        assert isinstance(value, int)
        return value

    @property
    def arm(self) -> str:
        """The identity of the candidate without its micro-batch."""
        return self.replace(**{MICRO_BATCH: None}).key

    def replace(self, **settings: Setting) -> "Candidate":
        """The same candidate with some settings changed."""
        return Candidate(settings={**self.settings, **settings})

    def training_arguments(self, global_batch_size: int, num_devices: int = 1) -> dict[str, Any]:
        """The TrainingArguments fields that this candidate sets, accumulation included.

        Raises:
            ValueError: micro-batch × devices does not divide the global batch.
        """
        micro_steps, rest = divmod(global_batch_size, self.micro_batch * num_devices)
        if rest or not micro_steps:
            raise ValueError(f"{self.micro_batch} × {num_devices} does not divide {global_batch_size}")
        arguments: dict[str, Any] = {}
        for name, value in self.settings.items():
            if name == PRECISION:
                arguments |= PRECISIONS[str(value)]
            elif name not in NOT_ARGUMENTS:
                arguments[name] = value
        return {**arguments, "gradient_accumulation_steps": micro_steps}


class Space(Record):
    """All candidates of a probe on a device: the product of the knobs' values, less what is excluded."""

    knobs: tuple[Knob, ...]
    base: Candidate
    """The user's own settings; always in the space."""
    global_batch_size: int
    num_devices: int = 1
    memory_limit_bytes: int
    headroom: float
    """The part of the limit that the recommendation leaves free."""
    device: Device | None = None
    """What the search may expect of the hardware before it has measured any; None: nothing."""
    prior: Prior | None = None
    """What traces say of the candidates; None: nothing was traced."""

    @property
    def num_candidates(self) -> int:
        """How many candidates there are."""
        return math.prod(len(knob.values) for knob in self.knobs)

    def candidates(self) -> Iterator[Candidate]:
        """Every candidate, in the order of the knobs, made one by one: of a large space there are very many."""
        names = [knob.name for knob in self.knobs]
        for values in product(*(knob.values for knob in self.knobs)):
            yield Candidate(settings=dict(zip(names, values, strict=True)))

    @property
    def usable_memory_bytes(self) -> float:
        """The limit less the headroom."""
        return self.memory_limit_bytes * (1 - self.headroom)
