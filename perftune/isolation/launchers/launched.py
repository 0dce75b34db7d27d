"""What every launched process can be asked, however it was launched. Parent side, no torch."""

import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Protocol


class Process(Protocol):
    """A task that runs."""

    pid: int
    """Of its group too."""

    def wait(self, seconds: float, also: Sequence[int] = ()) -> int | None:
        """The wait status, or None if it still runs after so many seconds or once another descriptor can be read."""

    def end(self) -> None:
        """Kill what is left of its group, stopped or not."""


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to all of a process group, if there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
