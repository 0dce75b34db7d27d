"""What is known of a workload before the first trial: built once in a child process, not trained."""

from typing import Any

from pydantic import Field

from perftune.records.base import Record, Setting
from perftune.records.device import Device, Versions
from perftune.records.trial import Failure, WorkloadSource


class SurveyRequest(Record):
    """What the child process is asked to look at; ``request.json`` with ``task`` survey."""

    workload: WorkloadSource
    arguments: dict[str, Any]
    """The user's base TrainingArguments fields, as in the probe file."""
    global_batch_size: int
    device: str
    num_devices: int = 1
    memory_limit_bytes: int | None = None
    deadline_seconds: float = 600.0
    knobs: dict[str, tuple[Setting, ...]] = Field(default_factory=dict)
    """Values that the user named, to be checked beside the defaults."""
    weightless: bool = False
    """Build the model without memory for its weights: enough for a plan."""


class WorstSample(Record):
    """One sample of the user's own data."""

    index: int
    num_tokens: int
    """After the collator, alone in its batch; 0 for inputs without tokens."""
    num_elements: int | None = None
    """Of all tensors of that batch: what makes it the heaviest."""


class Survey(Record):
    """The workload, the device and what each knob can be here."""

    trainer_class: str
    model_class: str
    num_parameters: int
    num_trainable_parameters: int
    num_samples: int | None
    """None for a data set without length."""
    num_samples_scanned: int
    worst_samples: tuple[WorstSample, ...]
    """Heaviest first; as many as the largest micro-batch, or as there are."""
    mean_num_tokens: float | None
    num_tokens_by_percent: tuple[int, ...] = ()
    """Tokens of a sample at 0 %, 1 %, … 100 % of the data, ascending; empty for inputs without tokens."""
    sample_seconds: float | None = None
    """What it takes to load and collate one sample, median; None where it was not timed, as in older studies."""
    sample_cpu_seconds: float | None = None
    """The part of it that computes; the rest waits, for a disk or a network."""
    has_eval_dataset: bool
    num_eval_samples: int | None = None
    """Of all sets; None without any, and where one has no length."""
    arguments: dict[str, Any]
    """Every TrainingArguments field as the user's own run has it (JSON-able)."""
    arguments_class: str = "transformers.training_args.TrainingArguments"
    """Of the arguments that the user's Trainer has: a build may make its own from those that it is given."""
    argument_fields: tuple[str, ...]
    """The names that the installed transformers has."""
    base: dict[str, Setting]
    """The user's own value of each knob."""
    supported: dict[str, tuple[Setting, ...]]
    """Values of each knob that this workload, device and software can take."""
    unsupported: dict[str, dict[str, str]]
    """knob -> value (as text, or ``*``) -> the reason."""
    device: Device
    flops_per_second: dict[str, float] = Field(default_factory=dict)
    """CPU: what a linear layer's forward and backward reach, by precision; empty where it was not measured."""
    versions: Versions
    notes: tuple[str, ...] = ()
    files: dict[str, str] = Field(default_factory=dict)
    """Files of the user's that were loaded to build it, modules and data, as far as known -> a digest of each."""

    @property
    def half_slowdown(self) -> float:
        """How many times slower this CPU multiplies in bf16 than in fp32; 0 where it was not measured."""
        rates = self.flops_per_second if self.device.kind == "cpu" else {}
        return rates["fp32"] / rates["bf16"] if {"fp32", "bf16"} <= rates.keys() else 0.0


class SurveyResult(Record):
    """What the child writes; exactly one of the two is there."""

    survey: Survey | None = None
    failure: Failure | None = None
