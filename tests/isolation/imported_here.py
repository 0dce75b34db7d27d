"""A preload that remembers which process imported it, and a trial that says so."""

import os
from pathlib import Path

from perftune.records.trial import TrialResult
from tests.isolation.fault_entries import measurement, write

IMPORTED_BY = os.getpid()


def tell(directory: Path) -> None:
    """Leave who imported this module and who runs it."""
    with (directory.parent.parent / "imported.pids").open("a", encoding="ascii") as file:
        file.write(f"{IMPORTED_BY} {os.getpid()}\n")
    write(directory, TrialResult(measurement=measurement()))
