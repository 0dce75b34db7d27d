"""A build function and a TrainingArguments object, as Python has them, to the same ProbeSpec that a file gives."""

import dataclasses
import inspect
import json
import math
from collections.abc import Callable, Mapping
from enum import Enum
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from perftune.errors import ProbeFileError
from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH
from perftune.records.probe import ProbeSpec
from perftune.spec.argument_fields import argument_fields
from perftune.spec.arguments import SECTION
from perftune.spec.checks import WITHOUT_CODE
from perftune.spec.file_form import ProbeFile
from perftune.spec.global_batch import ACCUMULATION
from perftune.spec.messages import KeyPath, Problem, did_you_mean, probe_file_error, shown
from perftune.spec.resolve import Origin, resolve
from perftune.spec.yaml_lines import Document

SOURCE = "<python>"
MIRRORED = {"gradient_checkpointing": CHECKPOINTING, "gradient_checkpointing_kwargs": f"{CHECKPOINTING}_kwargs"}
"""Older names, which transformers keeps equal to the new ones."""
NOT_THE_USERS = {"local_rank", "disable_tqdm"}
"""Set by the launcher and by the log level of this process."""
NEEDS_A_FILE = "does not go with build, whose code decides that; a workload without code needs a probe file"
DEFAULT_MICRO_BATCH = 8
"""TrainingArguments' default of per_device_train_batch_size (transformers 5.23, training_args.py)."""


def probe_from_python(
    build: Callable[..., Any] | str,
    args: Any = None,
    *,
    global_batch_size: int | None = None,
    **options: Any,
) -> ProbeSpec:
    """Declare a probe without a file.

    Args:
        build: ``build(args) -> Trainer``, a function at the top level of a file, or ``"path.py:function"``. Trials
            import that file, so a script that calls this keeps the call under ``if __name__ == "__main__":``.
        args: a TrainingArguments, of which the fields that differ from their defaults are kept, or a dict of fields.
        global_batch_size: samples per optimizer step; by default what the arguments make on all devices.
        **options: other keys of the probe file, such as ``target={"memory": "4GiB"}``.

    Raises:
        ProbeFileError: something in it cannot be probed, all of it in one message.
    """
    values: dict[str, Any] = {"build": _place(build) if callable(build) else build}
    values |= _options(options)
    arguments = _arguments(args)
    values[SECTION] = arguments
    if global_batch_size is None:
        target = values.get("target")
        count = target.get("count", 1) if isinstance(target, dict) else 1
        global_batch_size = _samples_per_step(arguments, args, count)
    values |= _plain_values({"global_batch_size": global_batch_size}, (), [])
    name = values["build"].rpartition(":")[0] if isinstance(values["build"], str) else ""
    return resolve(Document(values=values), Origin(SOURCE, SOURCE, Path.cwd(), Path(name).stem))


def _options(options: dict[str, Any]) -> dict[str, Any]:
    elsewhere = {SECTION: "give them as args=…", **dict.fromkeys(WITHOUT_CODE, NEEDS_A_FILE)}
    known = ProbeFile.model_fields.keys() - {"build", "global_batch_size", *elsewhere}
    allowed = f"Allowed: {', '.join(sorted(known))}."
    problems = [
        Problem(None, (name,), elsewhere.get(name) or f"unknown option. {allowed}{did_you_mean(name, known)}")
        for name in options.keys() - known
    ]
    return _plain_values({name: value for name, value in options.items() if name in known}, (), problems)


def _plain_values(values: Mapping[str, Any], path: KeyPath, problems: list[Problem]) -> dict[str, Any]:
    def tried(value: Any, path: KeyPath) -> Any:
        if isinstance(value, Mapping):
            return {str(plain(key)): tried(item, (*path, str(plain(key)))) for key, item in value.items()}
        try:
            return plain(value)
        except ValueError as error:
            problems.append(Problem(None, path, str(error)))

    kept: dict[str, Any] = tried(values, path)
    if problems:
        raise probe_file_error(SOURCE, problems)
    return kept


def _place(build: Callable[..., Any]) -> str:
    """``/path/to/file.py:function``, from which a trial in another process can import it."""
    what_to_do = "Put `def build(args)` at the top level of a .py file, and give it or 'path/to/file.py:build'."
    function = inspect.unwrap(build)
    name = getattr(function, "__qualname__", None)
    if not inspect.isfunction(function) or name is None:
        raise ProbeFileError(f"{SOURCE}: build: {build!r:.80} is no plain function. {what_to_do}")
    if not name.isidentifier():
        inside = "is a lambda" if "<lambda>" in name else "is not at the top level of its file"
        raise ProbeFileError(
            f"{SOURCE}: build: {name} {inside}, so a trial in another process cannot import it. {what_to_do}"
        )
    file = inspect.getsourcefile(function)
    if file is None or not Path(file).is_file():
        raise ProbeFileError(
            f"{SOURCE}: build: {name} was typed in or made on the fly, and lies in no file. {what_to_do}"
        )
    return f"{Path(file).absolute()}:{name}"


def _arguments(args: Any) -> dict[str, Any]:
    """The fields that the user set, as JSON has them."""
    if args is None:
        return {}
    return _plain_values(args if isinstance(args, Mapping) else _changed(args), (SECTION,), [])


def _changed(args: Any) -> dict[str, Any]:
    if not (dataclasses.is_dataclass(args) and hasattr(args, "to_dict")) or isinstance(args, type):
        raise ProbeFileError(f"{SOURCE}: args: {args!r:.80} should be a TrainingArguments or a dict of its fields.")
    values, defaults = args.to_dict(), _defaults(args)
    changed = {
        name: value
        for name, value in values.items()
        if name not in NOT_THE_USERS
        and not name.endswith("_token")
        and (name not in defaults or _as_json(value) != _as_json(defaults[name]))
    }
    for old, new in MIRRORED.items():
        if changed.get(old) == changed.get(new):
            changed.pop(old, None)
    _refuse_foreign(args, changed)
    return changed


def _defaults(args: Any) -> dict[str, Any]:
    """What ``to_dict`` says when nothing is set; of a class that cannot be made with nothing set, what it declares."""
    try:
        defaults: dict[str, Any] = type(args)().to_dict()
    except (TypeError, ValueError, ImportError):
        defaults = {}
        for field in dataclasses.fields(args):
            if field.default is not dataclasses.MISSING:
                defaults[field.name] = field.default
            elif field.default_factory is not dataclasses.MISSING:
                defaults[field.name] = field.default_factory()
    return defaults


def _refuse_foreign(args: Any, changed: dict[str, Any]) -> None:
    """Fields of a subclass would not reach the trial, which is given plain TrainingArguments."""
    fields = argument_fields()
    foreign = [name for name in changed if fields and name not in fields]
    if foreign:
        raise ProbeFileError(
            f"{SOURCE}: args: {', '.join(foreign)}: no field of TrainingArguments, which build is called with, but of "
            f"{type(args).__name__}. Set it in build, where that makes its own arguments from those that it is given."
        )


def _samples_per_step(arguments: dict[str, Any], args: Any, num_devices: Any) -> Any:
    """Micro-batch × accumulation × devices of the user's own arguments, in samples."""
    sizes = (
        arguments.get(MICRO_BATCH, getattr(args, MICRO_BATCH, DEFAULT_MICRO_BATCH)),
        arguments.get(ACCUMULATION, getattr(args, ACCUMULATION, 1)),
        num_devices,
    )
    for size in sizes:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ProbeFileError(
                f"{SOURCE}: global_batch_size: {shown(size)} is no number of samples or devices; "
                f"{MICRO_BATCH}, {ACCUMULATION} and target.count should be at least 1."
            )
    return sizes[0] * sizes[1] * sizes[2]


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def plain(value: Any) -> Any:
    """A value as JSON has it: enums by value, tuples as lists, paths as text, numbers of numpy as Python's own.

    Raises:
        ValueError: JSON has nothing like it.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | str):
        return _writable(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise ValueError(f"{value} should be a finite number")
        return float(value)
    return _writable(value)


def _writable(value: Any) -> Any:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{value!r:.60} ({type(value).__name__}) cannot be written to a file; give text, a number, true or false, "
            "a list or a dict of these"
        ) from error
    return value
