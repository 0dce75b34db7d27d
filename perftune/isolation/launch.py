"""A request for a process to a running one, forked from the server or in a fresh interpreter. Parent side, no torch."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from perftune.isolation.connection import Connection
from perftune.isolation.protocol import SERVER_ENVIRONMENT, ForkRequest
from perftune.task_folder import LOG


class Process(Protocol):
    """A task that runs."""

    pid: int
    """Of its group too."""

    def wait(self, seconds: float, also: Sequence[int] = ()) -> int | None:
        """The wait status, or None if it still runs after so many seconds or once another descriptor can be read."""

    def end(self) -> None:
        """Kill what is left of its group, stopped or not."""


class Forked:
    """Forked from the server, which says how it ended."""

    def __init__(self, connection: Connection, request: ForkRequest) -> None:
        self._connection, self._id = connection, request.id
        self.pid = connection.fork(request)

    def wait(self, seconds: float, also: Sequence[int] = ()) -> int | None:
        """See `Process`."""
        if self._connection.status(self._id) is None:
            self._connection.poll(seconds, also)
        return self._connection.status(self._id)

    def end(self) -> None:
        """See `Process`."""
        signal_group(self.pid, signal.SIGKILL)


class Spawned:
    """A fresh interpreter."""

    def __init__(self, request: ForkRequest) -> None:
        command = [sys.executable, "-m", "perftune.isolation.server", "--once", json.dumps(request._asdict())]
        environment = {**SERVER_ENVIRONMENT, **os.environ, **request.environment}
        with (Path(request.directory) / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        self.pid = self._process.pid
        self._ended = os.pidfd_open(self.pid)

    def wait(self, seconds: float, also: Sequence[int] = ()) -> int | None:
        """See `Process`."""
        select.select([self._ended, *also], [], [], seconds)
        code = self._process.poll()
        if code is None:
            return None
        return -code if code < 0 else code << 8

    def end(self) -> None:
        """See `Process`."""
        signal_group(self.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._ended)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to all of a process group, if there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
