"""The base of every record: frozen, closed to unknown fields, written as JSON."""

from typing import TypeAlias

from pydantic import BaseModel, ConfigDict

Setting: TypeAlias = bool | int | float | str | None
"""One value of a knob or of a TrainingArguments field, as YAML and JSON know it."""


class Record(BaseModel):
    """An immutable value that passes between the parts and is kept on disk."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", protected_namespaces=())
