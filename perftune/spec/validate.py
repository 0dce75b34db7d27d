"""The values of a probe file to its form, or to what is wrong with each key."""

import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from perftune.spec.argument_fields import argument_fields
from perftune.spec.arguments import SECTION, Finding, spelled_booleans
from perftune.spec.file_form import SECTIONS, ProbeFile
from perftune.spec.messages import NUMBER, SYNONYMS, KeyPath, did_you_mean, one_of, shown

WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a mapping (`key: value` lines, indented)",
    "model_type": "a mapping (`key: value` lines, indented)",
    "model_attributes_type": "a mapping (`key: value` lines, indented)",
    "tuple_type": "a list",
    "string_too_short": "some text",
    "string_pattern_mismatch": "letters, digits, `.`, `_` and `-`, a letter or digit first, 100 at most",
}
"""Kind of a pydantic error -> what should stand there."""

BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def prepare(values: dict[str, Any]) -> dict[str, Any]:
    """The file's values without the keys that hold nothing, which are as good as not there; ``yes`` as true."""
    kept = {key: value for key, value in values.items() if value is not None}
    for section in ("target", "budget", "data"):
        if isinstance(kept.get(section), dict):
            kept[section] = {
                key: {} if (key, value) == ("synthetic", None) else value
                for key, value in kept[section].items()
                if value is not None or key == "synthetic"
            }
    if isinstance(kept.get(SECTION), dict):
        kept[SECTION] = spelled_booleans(kept[SECTION])
    return kept


def validate(values: dict[str, Any]) -> tuple[ProbeFile | None, list[Finding]]:
    """The form, or None and what is wrong, key by key."""
    try:
        return ProbeFile.model_validate(values), []
    except ValidationError as error:
        return None, list(findings(error, values))


def findings(error: ValidationError, values: dict[str, Any]) -> Iterator[Finding]:
    """What a form says of these values, in the words of the user."""
    for details in error.errors(include_url=False):
        path = _existing(details["loc"], values, missing=details["type"] == "missing")
        yield path, _text(details, path)


def _existing(path: KeyPath, values: Any, missing: bool) -> KeyPath:
    """The path without the positions that a value has only since it was made a list of one."""
    kept: list[str | int] = []
    for part in path:
        there = part in values if isinstance(values, dict) else isinstance(values, list) and isinstance(part, int)
        if there:
            values = values[part]
        elif not (missing and part == path[-1]):
            continue
        kept.append(part)
    return tuple(kept)


def _text(details: ErrorDetails, path: KeyPath) -> str:
    kind, seen, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "missing":
        return f"is missing. {_meaning(path)}"
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "value_error":
        said = str(context["error"])
        return f"{shown(seen)} {said}" if said.startswith(("should", "is ")) else f"{shown(seen)}: {said}"
    if kind in BOUNDS:
        name, word = BOUNDS[kind]
        percent = " (a percentage is written with %)" if name in ("lt", "le") and 0 < context[name] <= 1 else ""
        return f"{shown(seen)} should be {word} {_number(context[name])}{percent}"
    if kind in ("enum", "literal_error"):
        allowed = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"{shown(seen)} is not allowed. Possible: {one_of(allowed)}.{did_you_mean(seen, allowed)}"
    wanted = WANTED.get(kind) if path != ("data",) else "the id of a data set, a local file, `synthetic`, or a mapping"
    return (
        f"{shown(seen)} should be {wanted}{_hint(kind, seen, path)}" if wanted else f"{shown(seen)}: {details['msg']}"
    )


def _number(bound: float) -> float:
    return int(bound) if bound == int(bound) else bound


def _hint(kind: str, seen: Any, path: KeyPath) -> str:
    if path == ("model",) and isinstance(seen, dict):
        return "; an inline configuration stands under `config:`, at the top level"
    if kind == "string_type" and isinstance(seen, int | float):
        return f"; write it in quotes if it is: '{seen}'"
    if kind in ("int_type", "float_type") and isinstance(seen, str) and NUMBER.fullmatch(seen):
        return "; write it without quotes"
    return ""


def _meaning(path: KeyPath) -> str:
    form = SECTIONS.get(tuple(str(part) for part in path[:-1]))
    field = form.model_fields.get(str(path[-1])) if form else None
    return (field.description if field else None) or ""


def _unknown_key(path: KeyPath) -> str:
    section, key = tuple(str(part) for part in path[:-1]), str(path[-1])
    form = SECTIONS.get(section)
    known = list(form.model_fields) if form else []
    homes = [".".join(other) or "the top level" for other, model in SECTIONS.items() if key in model.model_fields]
    if homes:
        return f"unknown key here; it belongs under {one_of(homes)}"
    name = SYNONYMS.get(key, key)
    if name in argument_fields() and name not in known:
        renamed = "" if name == key else f" as {name}"
        return f"unknown key here; it belongs under {SECTION}{renamed}"
    return f"unknown key.{did_you_mean(key, known) or f' Allowed: {one_of(known)}'}"
