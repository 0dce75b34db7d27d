"""A request for a process to a running one, forked from the server or in a fresh interpreter. Parent side, no torch."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from perftune.isolation.connection import Connection
from perftune.isolation.protocol import SERVER_ENVIRONMENT, ForkRequest
from perftune.task_folder import LOG


class Process(Protocol):
    """A task that runs."""

    pid: int
    """Of its group too."""

    def wait(self, seconds: float) -> int | None:
        """The wait status, or None if it still runs after so many seconds."""

    def end(self) -> None:
        """Kill what is left of its group."""


class Forked:
    """Forked from the server, which says how it ended."""

    def __init__(self, connection: Connection, request: ForkRequest) -> None:
        self._connection, self._id = connection, request.id
        self.pid = connection.fork(request)

    def wait(self, seconds: float) -> int | None:
        """See `Process`."""
        if self._connection.status(self._id) is None:
            self._connection.poll(seconds)
        return self._connection.status(self._id)

    def end(self) -> None:
        """See `Process`."""
        kill_group(self.pid)


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

    def wait(self, seconds: float) -> int | None:
        """See `Process`."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return -code if code < 0 else code << 8

    def end(self) -> None:
        """See `Process`."""
        kill_group(self.pid)
        self._process.wait()


def kill_group(pid: int) -> None:
    """Kill a process group, if there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
