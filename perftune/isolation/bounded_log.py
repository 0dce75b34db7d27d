"""A log that is being written to one of bounded size: its beginning, what was left out, and its end. No torch."""

import contextlib
import os
from pathlib import Path

from perftune.units import MIB

MOST_BYTES, HEAD_BYTES, TAIL_BYTES = 8 * MIB, MIB, MIB
"""A log that is larger than the first keeps so much of its beginning and of its end."""
LEFT_OUT = "\n… perftune left out {:,} bytes of this log …\n"


def bound(log: Path) -> None:
    """Cut the middle out of a log that has become too large.

    Whoever writes it appends, so what comes next stands behind what is kept; what is written at this very moment may be
    lost.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size <= MOST_BYTES:
            return
        with log.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(size - TAIL_BYTES)
            tail = file.read(TAIL_BYTES)
            file.truncate(HEAD_BYTES)
            file.seek(HEAD_BYTES)
            file.write(LEFT_OUT.format(size - HEAD_BYTES - TAIL_BYTES).encode() + tail)
