"""The form of a probe file: every key with its type, its bounds and what it means, for messages and for editors."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from perftune.records.candidate import Change
from perftune.records.probe import Budget, Objective, ProbeSpec, RealData, SyntheticData, Target, Task
from perftune.units import GIB, MIB, format_bytes, parse_bytes

MAX_GLOBAL_BATCH = 2**20
"""Samples; a larger number counts something else, such as tokens."""
MIN_MEMORY_BYTES = 64 * MIB
"""Under this not even torch fits, so that a smaller number is one without its unit."""
MAX_MEMORY_BYTES = 2**50
MAX_MINUTES = 366 * 24 * 60
"""A year; a larger number counts something else, such as seconds."""

SYNTHETIC = "synthetic"
DATA_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".txt")
"""Local files that can be read; other text for `data` is the id of a data set."""

_SHORT_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt])i?\s*\Z", re.ASCII | re.IGNORECASE)
_PERCENT = re.compile(r"\s*([-+]?\d{1,6}(?:\.\d{0,9})?)\s*%\s*\Z", re.ASCII)
SPELLED_BOOLS = {"yes": True, "on": True, "no": False, "off": False}
"""YAML 1.1 words; here they are text unless a boolean is asked for."""


def default_of(record: type[BaseModel], name: str) -> Any:
    """The default of a record's field, so that it is said once."""
    return record.model_fields[name].get_default(call_default_factory=True)


def _spelled_bool(value: Any) -> Any:
    return SPELLED_BOOLS.get(value.lower(), value) if isinstance(value, str) else value


def _fraction(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = _PERCENT.match(value)
    if not match:
        raise ValueError("should be a number or a percentage, such as 0.1 or 10%")
    return float(match[1]) / 100


def _bytes(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or str(value).lstrip().startswith("-"):
        raise ValueError("should be a size, such as 4GiB or 500MB")
    if isinstance(value, str) and (match := _SHORT_SIZE.match(value)):
        raise ValueError(f"should have its unit in full; did you mean {match[1]}{match[2].upper()}iB?")
    try:
        size = parse_bytes(value if isinstance(value, int) else str(value))
    except OverflowError:
        size = MAX_MEMORY_BYTES + 1
    except ValueError as error:
        raise ValueError("is not a size; write a number and a unit, such as 4GiB or 500MB") from error
    if size < MIN_MEMORY_BYTES:
        unit = f"; did you mean {str(value).strip()}GiB?" if str(value).strip().replace(".", "", 1).isdecimal() else ""
        raise ValueError(
            f"that is {format_bytes(size)}, and torch alone takes more than {MIN_MEMORY_BYTES // MIB} MiB{unit}"
        )
    if size > MAX_MEMORY_BYTES:
        raise ValueError(f"that is more than {MAX_MEMORY_BYTES // GIB:,} GiB; write a size such as 4GiB")
    return size


class _OneOrMore:
    """Lets a list of values be written as the one value that it holds; values that stand twice count once."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._to_tuple, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        many = {**handler(schema), "minItems": 1}
        return {"anyOf": [many["items"], many]}

    @staticmethod
    def _to_tuple(value: Any) -> Any:
        if value == []:
            raise ValueError("should be at least one value")
        return tuple(value) if isinstance(value, list) else (value,)


T = TypeVar("T")
OneOrMore = Annotated[tuple[T, ...], _OneOrMore()]
Bool = Annotated[bool, BeforeValidator(_spelled_bool, json_schema_input_type=bool)]
Fraction = Annotated[float, BeforeValidator(_fraction, json_schema_input_type=float | str)]
Bytes = Annotated[int, BeforeValidator(_bytes, json_schema_input_type=int | str)]
Positive = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Form(BaseModel):
    """A mapping in the file: closed to unknown keys, and no value is silently turned into another type."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class SyntheticForm(Form):
    """Data made up on the spot, with a stated distribution of lengths."""

    num_samples: Positive = default_of(SyntheticData, "num_samples")
    """How many samples."""
    distribution: Literal["fixed", "uniform", "lognormal"] = default_of(SyntheticData, "distribution")
    """How the lengths are spread."""
    mean_length: Positive = default_of(SyntheticData, "mean_length")
    """Tokens on average; the exact length for `fixed`."""
    max_length: Positive = default_of(SyntheticData, "max_length")
    """Tokens at most; longer draws are cut."""
    sigma: float = Field(default=default_of(SyntheticData, "sigma"), gt=0, le=10)
    """Spread of the logarithm of the length (`lognormal` only)."""
    image_size: Positive = default_of(SyntheticData, "image_size")
    """Pixels on each side (image tasks only)."""
    num_classes: int = Field(default=default_of(SyntheticData, "num_classes"), ge=2)
    """Labels to tell apart (classification only)."""
    seed: Seed = default_of(SyntheticData, "seed")
    """The same seed makes the same data."""


class DataForm(Form):
    """A `datasets` id, a local file, or synthetic data; exactly one of `id`, `path` and `synthetic`."""

    id: Text | None = None
    """A data set of the `datasets` library."""
    path: Text | None = None
    """A local file (.jsonl, .json, .csv, .parquet, .txt), relative to the probe file."""
    synthetic: SyntheticForm | None = None
    """Made up on the spot; takes no other key beside it."""
    name: Text | None = None
    """Configuration of the data set."""
    split: Text = default_of(RealData, "split")
    """The split to train on."""
    eval_split: Text | None = None
    """The split to evaluate on; without one, some of the training data are held out."""
    text_column: Text | None = None
    """The column with the text, the words or the images."""
    label_column: Text | None = None
    """The column with the labels."""
    target_column: Text | None = None
    """The column with what seq2seq should write."""
    max_length: Positive = default_of(RealData, "max_length")
    """Tokens at most; longer samples are cut."""
    num_samples: Annotated[int, Field(ge=2)] | None = None
    """Use only the first so many."""


def _data(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value == SYNTHETIC:
        return {"synthetic": {}}
    return {"path" if Path(value).suffix.lower() in DATA_SUFFIXES else "id": value}


class TargetForm(Form):
    """Where to tune."""

    device: Literal["auto", "cpu", "cuda"] = default_of(Target, "device")
    """`auto` takes the CUDA GPU if there is one, else the CPU."""
    count: int = Field(default=default_of(Target, "count"), ge=1, le=1024)
    """Devices that train together."""
    memory: Bytes | None = None
    """Limit per device, such as 4GiB; without it, what the device has."""
    headroom: Fraction = Field(default=default_of(Target, "headroom"), ge=0, lt=0.9)
    """Part of the limit that stays free, such as 0.1 or 10%."""
    price_per_hour: float | None = Field(default=None, gt=0)
    """Of one device, in any currency; for the objective `cost`."""


class KnobsForm(Form):
    """Knobs with the values that they may take; one value holds the knob, a knob not named here takes its defaults."""

    per_device_train_batch_size: OneOrMore[Positive] | None = None
    """Micro-batches; accumulation follows, so that the global batch stays."""
    precision: OneOrMore[Literal["fp32", "tf32", "bf16", "fp16"]] | None = None
    """Number format of the computation."""
    activation_checkpointing: OneOrMore[Bool] | None = None
    """Compute activations again instead of keeping them."""
    gradient_checkpointing: OneOrMore[Bool] | None = None
    """The older name of activation_checkpointing."""
    optim: OneOrMore[Text] | None = None
    """Optimizer implementations, by their TrainingArguments names."""
    attn_implementation: OneOrMore[Text] | None = None
    """Attention implementations, such as eager, sdpa, flash_attention_2."""
    torch_compile: OneOrMore[Bool] | None = None
    """Compile the model."""
    dataloader_num_workers: OneOrMore[Annotated[int, Field(ge=0)]] | None = None
    """Processes that load data."""
    dataloader_prefetch_factor: OneOrMore[Positive | None] | None = None
    """Batches that each worker loads ahead."""
    dataloader_pin_memory: OneOrMore[Bool] | None = None
    """Page-locked memory for the way to the GPU."""
    dataloader_persistent_workers: OneOrMore[Bool] | None = None
    """Keep the workers between epochs."""
    use_liger_kernel: OneOrMore[Bool] | None = None
    """Liger kernels, where they are installed."""
    torch_empty_cache_steps: OneOrMore[Positive | None] | None = None
    """Empty the allocator's cache every so many steps (CUDA only)."""
    train_sampling_strategy: OneOrMore[Literal["random", "sequential", "group_by_length"]] | None = None
    """Order of the data; other values than your own change what is learned."""
    cuda_allocator: OneOrMore[Text] | None = None
    """`default`, or a setting such as expandable_segments:True (CUDA only)."""


class BudgetForm(Form):
    """How much the probe may spend."""

    trials: int = Field(default=default_of(Budget, "trials"), ge=1, le=1_000_000)
    """Trials at most, all purposes counted."""
    minutes: float = Field(default=default_of(Budget, "minutes"), gt=0, le=MAX_MINUTES)
    """Minutes at most."""


class ProbeFile(Form):
    """What to tune: a workload, its own arguments, the target, what may change, and the budget."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["build"]},
                {"required": ["model", "task", "data"]},
                {"required": ["config", "task", "data"]},
            ]
        }
    )

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] | None = None
    """Names the folder of the results; without it, the name of this file."""
    build: Text | None = None
    """Your own code, path/to/file.py:function, relative to this file: def build(args: TrainingArguments) -> Trainer."""
    model: Text | None = None
    """Without code: a hub id, or a local folder relative to this file."""
    config: dict[str, Any] | None = None
    """Without code and without weights: a configuration with its `model_type`."""
    tokenizer: Text | None = None
    """A hub id or a local folder; without it, the model's own."""
    task: Annotated[Task, Field(strict=False)] | None = None
    """What the model is trained for."""
    data: Annotated[DataForm, BeforeValidator(_data, json_schema_input_type=str | DataForm)] | None = None
    """A `datasets` id, a local file (.jsonl, .json, .csv, .parquet, .txt), `synthetic`, or a mapping with more."""
    training_arguments: dict[str, Any] = Field(default_factory=dict)
    """Your own TrainingArguments; kept unless a knob changes them."""
    global_batch_size: int = Field(ge=1, le=MAX_GLOBAL_BATCH)
    """Samples per optimizer step over all devices; never changes."""
    target: TargetForm = TargetForm()
    """Where to tune."""
    knobs: KnobsForm = KnobsForm()
    """Knobs with the values that they may take; those not named here take their defaults."""
    allow: OneOrMore[Annotated[Change, Field(strict=False)]] = default_of(ProbeSpec, "allow")
    """What may change about training."""
    objective: Annotated[Objective, Field(strict=False)] = default_of(ProbeSpec, "objective")
    """What to make the most of (memory and cost: the least)."""
    budget: BudgetForm = BudgetForm()
    """How much the probe may spend."""
    loss_tolerance: Fraction = Field(default=default_of(ProbeSpec, "loss_tolerance"), gt=0, le=1)
    """How far the loss may lie from that of your own arguments, such as 0.02 or 2%."""
    worthwhile: Fraction = Field(default=default_of(ProbeSpec, "worthwhile"), ge=0, le=1)
    """The smallest gain in throughput that matters, such as 0.02 or 2%."""
    seed: Seed = default_of(ProbeSpec, "seed")
    """Of weights, data order and search."""
    trust_remote_code: Bool = default_of(ProbeSpec, "trust_remote_code")
    """Whether code that comes with a hub model may run."""


SECTIONS: dict[tuple[str, ...], type[Form]] = {
    (): ProbeFile,
    ("target",): TargetForm,
    ("knobs",): KnobsForm,
    ("budget",): BudgetForm,
    ("data",): DataForm,
    ("data", "synthetic"): SyntheticForm,
}
"""The mapping at a path -> its form."""


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a probe file, with descriptions, for completion in an editor."""
    schema = ProbeFile.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "perftune probe"}
