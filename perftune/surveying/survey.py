"""A workload, built once and not trained, to what the search must know of it. Child side.

Protocol: ``request.json`` holds a `SurveyRequest`; ``result.json`` a `SurveyResult`.
"""

import json
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

from torch.utils.data import IterableDataset
from transformers import Trainer, TrainingArguments

from perftune.devices import host, training_device
from perftune.devices.cuda_allocator import own_setting
from perftune.errors import DeviceError, WorkloadError
from perftune.files import write_atomically
from perftune.measuring.probed_trainer import events_left_out, reporting_callbacks
from perftune.records.base import Setting
from perftune.records.candidate import (
    ATTENTION,
    CHECKPOINTING,
    CUDA_ALLOCATOR,
    MICRO_BATCH,
    PRECISION,
    WORKERS,
)
from perftune.records.device import Device
from perftune.records.survey import Survey, SurveyRequest, SurveyResult
from perftune.records.trial import Failure, Outcome
from perftune.surveying.held import why_held
from perftune.surveying.rates import flops_per_second
from perftune.surveying.supported import supported
from perftune.tracing.weightless import weightless
from perftune.workloads.arguments import field_names, installed_name, training_arguments
from perftune.workloads.entry import describe_failure, enter
from perftune.workloads.loaded_files import LoadedFiles
from perftune.workloads.loading import build_trainer, unwrapped
from perftune.workloads.set_by_code import asked_for, set_by_code
from perftune.workloads.worst_batch import Scan, makes_batches, num_rows, scan, train_source

STOCK_MICRO_BATCH = 8
"""What TrainingArguments has when nothing is said (transformers/training_args.py)."""
REPEATS = "the train data are iterated, and each worker iterates all of them: with two every sample may come twice"
OUR_FIELDS = ("output_dir", "report_to", "push_to_hub", "disable_tqdm", "use_cpu", "eval_on_start")
"""Fields that a trial sets for itself; they are no part of what the user's own run has."""


def base_micro_batch(arguments: dict[str, Any], global_batch_size: int, num_devices: int) -> int:
    """The user's own micro-batch: as given, or what their accumulation leaves, or the stock one where it divides."""
    per_device = global_batch_size // num_devices
    if MICRO_BATCH in arguments:
        return int(arguments[MICRO_BATCH])
    if "gradient_accumulation_steps" in arguments:
        return per_device // int(arguments["gradient_accumulation_steps"])
    return max(n for n in range(1, min(STOCK_MICRO_BATCH, per_device) + 1) if per_device % n == 0)


def _precision(args: TrainingArguments) -> str:
    if args.bf16:
        return "bf16"
    if args.fp16:
        return "fp16"
    return "tf32" if args.tf32 else "fp32"


def base_settings(trainer: Trainer, knobs: tuple[str, ...]) -> dict[str, Setting]:
    """The user's own value of each knob."""
    args = trainer.args
    special: dict[str, Setting] = {
        PRECISION: _precision(args),
        CHECKPOINTING: bool(getattr(args, installed_name(CHECKPOINTING))),
        ATTENTION: getattr(getattr(unwrapped(trainer), "config", None), "_attn_implementation", None),
        CUDA_ALLOCATOR: own_setting(os.environ),
    }
    values: dict[str, Setting] = {}
    for knob in (MICRO_BATCH, *knobs):
        value = special[knob] if knob in special else getattr(args, knob, None)
        values[knob] = getattr(value, "value", value)
    return values


def _device(request: SurveyRequest) -> Device:
    if request.device == "cpu":
        return host.cpu_device()
    from perftune.devices import cuda

    return cuda.device(0)


def _worst(trainer: Trainer, request: SurveyRequest) -> tuple[Scan, tuple[str, ...]]:
    num_worst = request.global_batch_size // request.num_devices
    try:
        source = train_source(trainer)
    except AttributeError as error:
        note = f"the worst batch could not be found: the train loader has no data set or collator ({error})"
        return Scan((), None, 0, None), (note,)
    if makes_batches(source):
        note = (
            f"the heaviest batch is not known: {type(trainer).__name__} makes its tensors within the step, out of what "
            "the data loader gives"
        )
        return Scan((), num_rows(source.dataset), 0, None), (note,)
    found = scan(source, num_worst)
    if found.num_samples is not None and found.num_scanned < found.num_samples:
        note = f"the worst batch was looked for in the first {found.num_scanned} of {found.num_samples} samples"
        return found, (note,)
    if found.num_samples is None:
        return found, (f"the data has no length; the worst batch was looked for in {found.num_scanned} samples",)
    return found, ()


def repeats_with_workers(trainer: Trainer) -> bool:
    """Whether another number of workers could train on other samples.

    Each worker iterates the whole of an iterable data set of torch (torch.utils.data, "Multi-process data loading");
    those of `datasets` share its files between them.
    """
    dataset = trainer.train_dataset
    return isinstance(dataset, IterableDataset) and not type(dataset).__module__.startswith("datasets.")


def num_eval_samples(trainer: Trainer) -> int | None:
    """Of all evaluation sets; None without any, and where one has no length."""
    data: Any = trainer.eval_dataset
    numbers = [num_rows(one) for one in (data.values() if isinstance(data, dict) else [data])]
    return None if None in numbers else sum(number or 0 for number in numbers)


def half_weights(trainer: Trainer) -> tuple[str, ...]:
    """Mixed precision keeps the weights that train in fp32; many models are loaded in the precision of their file."""
    names = {str(p.dtype).removeprefix("torch.") for p in cast("Any", trainer.model).parameters() if p.requires_grad}
    half = sorted(names & {"float16", "bfloat16"})
    if not half:
        return ()
    advice = "load the model with `dtype=torch.float32` and let `fp16` or `bf16` do the rest"
    trouble = "small updates are lost in it" + (", and the loss soon is not a number" if "float16" in half else "")
    return (f"the weights that train are in {' and '.join(half)}: {trouble}; {advice}",)


def _arguments(request: SurveyRequest, directory: Path, micro_batch: int) -> TrainingArguments:
    accumulation = request.global_batch_size // (micro_batch * request.num_devices)
    arguments = {**request.arguments, MICRO_BATCH: micro_batch, "gradient_accumulation_steps": accumulation}
    return training_arguments(arguments, directory, request.device)


def _built(request: SurveyRequest, directory: Path, micro_batch: int) -> Trainer:
    return build_trainer(request.workload, _arguments(request, directory, micro_batch))


def _not_called(trainer: Trainer) -> Iterator[str]:
    """What of the user's callbacks trials leave out, as sentences."""
    reporting = [type(callback).__name__ for callback in reporting_callbacks(trainer)]
    if reporting:
        yield f"taken out of the trials, so that nothing is reported: {', '.join(reporting)}"
    left_out = events_left_out(trainer)
    if left_out:
        yield f"not called in trials, as they belong to a whole training: {', '.join(left_out)}"


def survey(request: SurveyRequest, directory: Path) -> Survey:
    """Build the workload with the user's own arguments and look at it.

    Raises:
        WorkloadError: it cannot be built. What the user's code raises goes through.
    """
    micro_batch = base_micro_batch(request.arguments, request.global_batch_size, request.num_devices)
    args = _arguments(request, directory, micro_batch)
    asked = asked_for(args)
    loaded = LoadedFiles(directory.parent, request.workload.model)
    with loaded, weightless() if request.weightless else nullcontext():
        trainer = build_trainer(request.workload, args)
    if num_rows(trainer.train_dataset) == 0:
        raise WorkloadError("the train_dataset of the Trainer has no samples; check what the code reads or filters out")
    device = _device(request)
    support = supported(trainer, request.device, request.knobs)
    base = base_settings(trainer, tuple(support.values))
    for knob, reason in set_by_code(trainer, asked).items():
        if support.values.get(knob):
            support.hold(knob, base[knob], reason)
    scanned, notes = _worst(trainer, request)
    sizes = [(p.numel(), p.requires_grad) for p in cast("Any", trainer.model).parameters()]
    held = why_held(trainer, lambda micro: _built(request, directory, micro), request)
    if held is not None:
        support.hold(MICRO_BATCH, micro_batch, held)
        notes += (f"the micro-batch stays at {micro_batch}: {held}",)
    if repeats_with_workers(trainer):
        support.hold(WORKERS, int(trainer.args.dataloader_num_workers), REPEATS)
    notes += (*half_weights(trainer), *_not_called(trainer))
    arguments_now = cast("Any", trainer.args)
    values = json.loads(json.dumps(arguments_now.to_dict(), default=str))
    return Survey(
        trainer_class=f"{type(trainer).__module__}.{type(trainer).__qualname__}",
        model_class=type(unwrapped(trainer)).__name__,
        num_parameters=sum(size for size, _ in sizes),
        num_trainable_parameters=sum(size for size, trains in sizes if trains),
        num_samples=scanned.num_samples,
        num_samples_scanned=scanned.num_scanned,
        worst_samples=scanned.worst,
        mean_num_tokens=scanned.mean_num_tokens,
        num_tokens_by_percent=scanned.num_tokens_by_percent,
        sample_seconds=scanned.sample_seconds,
        sample_cpu_seconds=scanned.sample_cpu_seconds,
        has_eval_dataset=trainer.eval_dataset is not None,
        num_eval_samples=num_eval_samples(trainer),
        arguments={name: value for name, value in values.items() if name not in OUR_FIELDS},
        arguments_class=f"{type(arguments_now).__module__}.{type(arguments_now).__qualname__}",
        argument_fields=field_names(),
        base=base,
        supported=support.values,
        unsupported=support.reasons,
        device=device,
        flops_per_second=flops_per_second() if request.device == "cpu" and not request.weightless else {},
        versions=host.versions(),
        notes=notes,
        files=loaded.digests(trainer),
    )


def execute(directory: Path) -> None:
    """Survey the workload whose request lies in a folder."""
    request = SurveyRequest.model_validate_json((directory / "request.json").read_text(encoding="utf-8"))
    enter(request.workload)
    try:
        device = training_device(request.device)
    except DeviceError as error:
        name = f"{DeviceError.__module__}.{DeviceError.__qualname__}"
        failure = Failure(kind=Outcome.UNSUPPORTED, message=str(error), error_type=name)
        write_atomically(directory / "result.json", SurveyResult(failure=failure).model_dump_json(indent=1))
        return
    try:
        result = SurveyResult(survey=survey(request, directory))
    except BaseException as error:  # noqa: BLE001 (whatever the user's code raises is told to the parent)
        result = SurveyResult(failure=describe_failure(error, device))
    write_atomically(directory / "result.json", result.model_dump_json(indent=1))
