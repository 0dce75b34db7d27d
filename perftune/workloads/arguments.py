"""A trial's argument values to a TrainingArguments that reports, pushes and writes nowhere but the trial's folder."""

import dataclasses
import difflib
import re
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from perftune.errors import WorkloadError
from perftune.records.candidate import CHECKPOINTING

OLD_NAMES = {CHECKPOINTING: "gradient_checkpointing", f"{CHECKPOINTING}_kwargs": "gradient_checkpointing_kwargs"}
"""New field -> its name before transformers 5.20."""


def field_names() -> tuple[str, ...]:
    """The TrainingArguments fields of the installed transformers."""
    return tuple(field.name for field in dataclasses.fields(TrainingArguments) if field.init)


def installed_name(name: str) -> str:
    """The spelling of a field in the installed transformers, whichever of its two names is given.

    Raises:
        WorkloadError: there is no such field.
    """
    names = field_names()
    for old_new in ((new, old) for new, old in OLD_NAMES.items() if name in (new, old)):
        return next(known for known in old_new if known in names)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise WorkloadError(f"training_arguments.{name}: the installed transformers has no such field{hint}")


def training_arguments(arguments: dict[str, Any], directory: Path, device: str) -> TrainingArguments:
    """Build the arguments of one trial.

    Args:
        arguments: fields by name, old or new spelling.
        directory: the trial's folder; output goes below it.
        device: ``cpu`` or ``cuda``.

    Raises:
        WorkloadError: a field does not exist, or the values do not go together.
    """
    values = {installed_name(name): value for name, value in arguments.items() if value is not None}
    values |= {"output_dir": str(directory / "output"), "report_to": [], "push_to_hub": False, "disable_tqdm": True}
    values |= {"use_cpu": device == "cpu", "eval_on_start": False}
    try:
        return TrainingArguments(**values)
    except (ValueError, TypeError, ImportError) as error:
        raise WorkloadError(f"training_arguments: transformers refuses these values: {_in_short(error)}") from error


def _in_short(error: Exception) -> str:
    """On one line, and of a long list of possible values the nearest."""
    said = " ".join(str(error).split())
    listed = re.match(r"(\S+) is not a valid (\w+), please select one of (\[.*\])", said)
    if listed is None:
        return said
    known = re.findall(r"'([^']*)'", listed[3])
    near = difflib.get_close_matches(listed[1], known, n=3) or known[:8]
    return f"{listed[1]!r} is none of its {listed[2]}; did you mean {' or '.join(near)}?"
