"""Keys of a probe file that do not go together to what is wrong with them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import perftune.spec.files as files
from perftune.records.probe import Objective, Task
from perftune.spec.arguments import Finding, check_arguments
from perftune.spec.file_form import DATA_SUFFIXES, SYNTHETIC
from perftune.spec.global_batch import check_batches
from perftune.spec.messages import KeyPath, one_of, shown

WITHOUT_CODE = ("model", "config", "tokenizer", "task", "data")
DATA_SOURCES = ("id", "path", SYNTHETIC)


def check(values: dict[str, Any], folder: Path) -> Iterator[Finding]:
    """Everything that a look at single keys cannot tell. Values of a wrong type are passed over here."""
    yield from _check_workload(values)
    yield from _check_data(values.get("data"))
    yield from _check_files(values, folder)
    yield from check_batches(values)
    yield from check_arguments(values)
    yield from _check_objective(values)
    yield from _check_knobs(values.get("knobs"))


def _check_workload(values: dict[str, Any]) -> Iterator[Finding]:
    sources = [key for key in ("build", "model", "config") if key in values]
    if not sources:
        yield (
            (),
            (
                "says not what to train. Write `build: train.py:build` (your own code), or without code "
                "`model:` (or an inline `config:`), `task:` and `data:`"
            ),
        )
    elif "build" in values:
        for key in WITHOUT_CODE:
            if key in values:
                yield (key,), "does not go with build, whose code decides that; keep one of the two"
    else:
        if len(sources) > 1:
            yield ("config",), "does not go with model, which has its own; keep one of the two"
        yield from _check_without_code(values)


def _check_without_code(values: dict[str, Any]) -> Iterator[Finding]:
    tasks = one_of(task.value for task in Task)
    if "task" not in values:
        yield ("task",), f"is missing. Possible: {tasks}"
    if "data" not in values:
        yield ("data",), "is missing. Write the id of a data set, a local file, or `synthetic`"
    config = values.get("config")
    if not isinstance(config, dict):
        return
    if not isinstance(config.get("model_type"), str):
        seen = f"{shown(config['model_type'])} should be" if "model_type" in config else "is missing; write"
        yield ("config", "model_type"), f"{seen} the name of an architecture, such as llama, bert, t5 or vit"
    text_task = values.get("task") in [task.value for task in Task if task is not Task.IMAGE_CLASSIFICATION]
    if text_task and _is_real(values.get("data")) and "tokenizer" not in values:
        yield ("tokenizer",), "is missing; an inline config with text data needs one, a hub id or a local folder"


def _is_real(data: Any) -> bool:
    return data != SYNTHETIC if isinstance(data, str) else isinstance(data, dict) and bool({"id", "path"} & data.keys())


def _check_data(data: Any) -> Iterator[Finding]:
    if not isinstance(data, dict):
        return
    given = [key for key in DATA_SOURCES if key in data]
    if not given:
        yield ("data",), "names no data; write one of id, path and synthetic, such as `data: {synthetic: {…}}`"
    elif len(given) > 1:
        yield ("data", given[-1]), f"does not go with {given[0]}; keep one of the two"
    elif given == [SYNTHETIC]:
        for key in data.keys() - {SYNTHETIC}:
            yield ("data", key), "does not go with synthetic; keys of synthetic data stand below it"
    elif given == ["path"]:
        for key, allowed in (("split", "train"), ("eval_split", None), ("name", None)):
            if data.get(key, allowed) != allowed:
                yield (
                    ("data", key),
                    f"{shown(data[key])}: a local file has no splits and no configurations; leave it out",
                )


def _check_files(values: dict[str, Any], folder: Path) -> Iterator[Finding]:
    data = values.get("data")
    named: list[tuple[KeyPath, Any, Callable[[str, Path], object]]] = [
        (("build",), values.get("build"), files.build_function),
        (("model",), values.get("model"), files.hub_id_or_folder),
        (("tokenizer",), values.get("tokenizer"), files.hub_id_or_folder),
    ]
    if isinstance(data, dict):
        named += [
            (("data", "path"), data.get("path"), files.data_file),
            (("data", "id"), data.get("id"), files.data_id),
        ]
    elif isinstance(data, str) and data != SYNTHETIC:
        local = Path(data).suffix.lower() in DATA_SUFFIXES
        named.append((("data",), data, files.data_file if local else files.data_id))
    for path, name, resolve in named:
        if isinstance(name, str) and name:
            try:
                resolve(name, folder)
            except files.Unusable as why:
                yield path, str(why)


def _check_objective(values: dict[str, Any]) -> Iterator[Finding]:
    pair = (values.get("objective"), values.get("task"))
    if pair == (Objective.TOKENS_PER_SECOND.value, Task.IMAGE_CLASSIFICATION.value):
        yield ("objective",), "tokens_per_second does not go with images; write samples_per_second"
    target = values.get("target")
    priced = isinstance(target, dict) and "price_per_hour" in target
    if values.get("objective") == Objective.COST.value and not priced:
        yield ("objective",), "cost needs a price; write `target: {price_per_hour: …}`"


def _check_knobs(knobs: Any) -> Iterator[Finding]:
    if isinstance(knobs, dict) and {"gradient_checkpointing", "activation_checkpointing"} <= knobs.keys():
        yield ("knobs", "gradient_checkpointing"), "is the older name of activation_checkpointing; keep one of the two"
