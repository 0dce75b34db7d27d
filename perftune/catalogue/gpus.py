"""GPUs by name, from the catalogue that comes with perftune and the user's own, and what an hour on each costs."""

import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from perftune.errors import DeviceError
from perftune.records.device import Device
from perftune.records.gpu import Gpu
from perftune.units import parse_bytes

BUILT_IN = Path(__file__).with_name("gpus.yaml")
ALL = "all"
"""The name that stands for every GPU."""
SAME_MEMORY = 0.05
"""Drivers tell of the same memory within this part."""


def load_catalogue(extra: Path | None = None) -> dict[str, Gpu]:
    """GPU by name.

    Args:
        extra: a file of the same form as ``gpus.yaml``; its GPUs are added, or stand for those of the same name.
            Numbers for which it names no source have the file itself as their source.

    Raises:
        DeviceError: that file cannot be read, or a row of it is wrong.
    """
    content = _content(BUILT_IN)
    catalogue = _gpus(content, BUILT_IN, content["sources"])
    if extra is not None:
        own = _content(extra)
        catalogue |= _gpus(own, extra, {**content["sources"], **own["sources"]}, otherwise=str(extra))
    return catalogue


def find_gpus(names: Sequence[str], catalogue: Mapping[str, Gpu]) -> list[Gpu]:
    """The GPUs that are meant, each once, in the order of the names.

    Args:
        names: as in the catalogue, or as much of it as is enough (``t4``, ``a100-40gb``, ``h100-sxm``); ``all`` for
            every one.
        catalogue: of ``load_catalogue``.

    Raises:
        DeviceError: a name is in the catalogue not at all or more than once.
    """
    found: dict[str, Gpu] = {}
    for name in names:
        found |= catalogue if name.lower() == ALL else {gpu.name: gpu for gpu in [_find(name, catalogue)]}
    return list(found.values())


def load_prices(path: Path, catalogue: Mapping[str, Gpu]) -> dict[str, float]:
    """What an hour on one GPU costs, by its name in the catalogue, in whatever money the file means.

    Args:
        path: a YAML mapping of names, as for ``find_gpus`` but ``all``, to positive numbers.
        catalogue: of ``load_catalogue``.

    Raises:
        DeviceError: the file cannot be read, a name is not known or there twice, or a price is not a positive number.
    """
    prices: dict[str, float] = {}
    for key, price in _mapping(_read(path), f"{path} should be a list of `name: price per hour`").items():
        try:
            name = _find(str(key), catalogue).name
        except DeviceError as error:
            raise DeviceError(f"{path}: {error}") from error
        if isinstance(price, bool) or not isinstance(price, int | float) or not (math.isfinite(price) and price > 0):
            raise DeviceError(f"{path}: the price of {key} should be a positive number per hour, not {price!r}.")
        if name in prices:
            raise DeviceError(f"{path}: {key} is {name}, which has a price already; keep one of them.")
        prices[name] = float(price)
    return prices


def gpu_of(device: Device, catalogue: Mapping[str, Gpu]) -> Gpu | None:
    """The row of a GPU that is here, by the name that its driver gives, its memory and its compute capability."""
    told = re.sub(r"[^a-z0-9]", "", device.name.lower())

    def is_it(gpu: Gpu) -> bool:
        alike = abs(gpu.memory_bytes / device.memory_bytes - 1) < SAME_MEMORY
        return alike and gpu.name.split("-")[0] in told and gpu.compute_capability in (None, device.compute_capability)

    def likeness(gpu: Gpu) -> tuple[bool, int]:
        return gpu.name.endswith("-pcie") == ("pcie" in told), -abs(gpu.memory_bytes - device.memory_bytes)

    return max(filter(is_it, catalogue.values()), key=likeness, default=None)


def _find(name: str, catalogue: Mapping[str, Gpu]) -> Gpu:
    matches = _matches(name.strip().lower(), catalogue)
    if len(matches) == 1:
        return catalogue[matches[0]]
    if matches:
        raise DeviceError(f"{name} could be {_one_of(matches)}; name one of them. `perftune gpus` lists all GPUs.")
    near = difflib.get_close_matches(name.lower(), catalogue, n=3, cutoff=0.4)
    hint = f" The nearest: {_one_of(near)}." if near else ""
    raise DeviceError(f"There is no GPU {name!r} in the catalogue.{hint} `perftune gpus` lists them.")


def _matches(name: str, names: Collection[str]) -> list[str]:
    """Those that are the name; else those that have all its parts, so that l4 is not l40s; else those it begins."""
    if name in names:
        return [name]
    parts = set(name.split("-"))
    return [other for other in names if parts <= set(other.split("-"))] or [
        other for other in names if name and other.startswith(name)
    ]


def _one_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DeviceError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise DeviceError(f"{path} is no YAML: {' '.join(str(error).split())}.") from error


def _mapping(value: Any, otherwise: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise DeviceError(f"{otherwise}, not {value!r}.")
    return value


def _content(path: Path) -> dict[str, dict[Any, Any]]:
    """The two mappings of a catalogue file."""
    content = _mapping(_read(path), f"{path} should have `gpus:` and below it the GPUs by name")
    unknown = [key for key in content if key not in {"gpus", "sources"}]
    if unknown:
        raise DeviceError(f"{path}: {unknown[0]} should be gpus or sources.")
    return {
        key: _mapping(content.get(key) or {}, f"{path}: {key} should be a list of `name: …`")
        for key in ("gpus", "sources")
    }


def _gpus(
    content: Mapping[str, dict[Any, Any]], path: Path, sources: Mapping[str, str], otherwise: str | None = None
) -> dict[str, Gpu]:
    gpus = {}
    for name, row in content["gpus"].items():
        where = f"{path}: GPU {name}"
        fields = _fields(_mapping(row, f"{where} should be a list of `key: value`"), where, sources, otherwise)
        try:
            gpus[str(name)] = Gpu.model_validate({"name": str(name), **fields})
        except ValidationError as error:
            raise DeviceError(f"{where}{_first_fault(error)}") from error
    return gpus


def _fields(row: Mapping[Any, Any], where: str, sources: Mapping[str, str], otherwise: str | None) -> dict[str, Any]:
    """A row with its memory in bytes and the texts of its sources; ``otherwise`` is where the rest is from."""
    fields = {str(key): value for key, value in row.items()}
    memory = fields.get("memory_bytes")
    try:
        fields["memory_bytes"] = parse_bytes(memory) if isinstance(memory, str) else memory
    except ValueError as error:
        raise DeviceError(f"{where}, memory_bytes: {error}.") from error
    named = _mapping(fields.get("sources") or {}, f"{where}, sources: should be a list of `key: source`")
    texts = {str(key): sources.get(str(source), source) for key, source in named.items()}
    if otherwise is not None:
        present = {key for key, value in fields.items() if value is not None}
        texts = dict.fromkeys(sorted(present & Gpu.numbered_fields()), otherwise) | texts
    return {**fields, "sources": texts}


def _first_fault(error: ValidationError) -> str:
    """``, key: what is wrong``; the key is missing where the row as a whole is wrong."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    said = fault["msg"].removeprefix("Value error, ")
    seen = "" if fault["type"] in {"missing", "value_error"} else f", not {fault['input']!r}"
    return f"{f', {key}' if key else ''}: {said[:1].lower() + said[1:]}{seen}."
