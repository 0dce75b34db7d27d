"""A TrainingArguments file to what transformers reads from it: the proof that a written file loads. Child side.

Protocol: ``arguments.yaml`` in; ``result.json`` out, ``{"arguments": {...}}`` or ``{"error": "..."}``.
"""

import json
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser, TrainingArguments

from perftune.files import write_atomically


def read_back(path: Path) -> dict[str, Any]:
    """Every field of the TrainingArguments that a YAML file makes, as JSON knows it."""
    parser: Any = HfArgumentParser(TrainingArguments)  # type: ignore[arg-type]  # its stub sees no dataclass
    (arguments,) = parser.parse_yaml_file(str(path))
    values: dict[str, Any] = json.loads(json.dumps(arguments.to_dict(), default=str))
    return values


def execute(directory: Path) -> None:
    """Read ``arguments.yaml`` of a folder back, and say what came out."""
    try:
        answer: dict[str, Any] = {"arguments": read_back(directory / "arguments.yaml")}
    except Exception as error:  # noqa: BLE001 (whatever the parser raises means that the file does not load)
        answer = {"error": f"{type(error).__name__}: {error}"}
    write_atomically(directory / "result.json", json.dumps(answer))
