"""rows.jsonl to the rows that predictions are judged on, and the rows that are left out with the reason."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROWS = Path(__file__).with_name("rows.jsonl")
Row = Mapping[str, Any]
"""One published figure; README.md beside this file describes the fields."""


def load_rows(path: Path = ROWS) -> list[Row]:
    """All rows, also the unusable ones."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def usable(row: Row) -> bool:
    """Whether the run can be set up again from what was published."""
    return row["unusable"] is None


def gpu_memory_bytes(row: Row) -> int | None:
    """Of the row's GPU: what its source says, else the nominal one of its catalogue id; None where it is not known."""
    if row["gpu_memory_bytes"] is not None:
        return int(row["gpu_memory_bytes"])
    found = re.search(r"-(\d+)gb", row["gpu"] or "")
    return None if found is None else int(found[1]) * 2**30


def is_in_trainer(row: Row) -> bool:
    """Whether the run was the Trainer's own loop, with plugins or without."""
    return row["trainer"] in ("yes", "plugins")
