"""The parent's end of the fork server: start it, ask for processes, hear how they ended. No torch."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perftune.errors import IsolationError
from perftune.isolation.environment import server_environment
from perftune.isolation.protocol import ForkRequest
from perftune.isolation.readable import readable

START_SECONDS = 300.0
"""Importing torch and transformers takes about 9 s on two quiet cores; a loaded machine can be many times slower."""


CLOSE_SECONDS = 5.0
"""A server that has not ended its forks and itself in this time is killed."""


START = (
    "import sys; sys.path[:] = sys.argv.pop(1).splitlines(); "
    "from perftune.isolation.server import main; main(sys.argv[1:])"
)
"""The server looks for modules where this process does. ``python -m`` would look in the current folder first, where a
user may have a ``datasets.py`` of their own."""


class ServerDiedError(Exception):
    """The fork server ended while it was needed."""


class Connection:
    """A running fork server."""

    def __init__(self, preload: Sequence[str], log: Path) -> None:
        """Start the server and wait until it has loaded.

        Raises:
            IsolationError: it did not come up; names the log.
        """
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, "\n".join(path or str(Path.cwd()) for path in sys.path), *preload],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=server_environment(os.environ),
                start_new_session=True,  # a Ctrl-C in the terminal is for the parent alone
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._buffer = b""
        self._pids: dict[int, int] = {}
        self._statuses: dict[int, int] = {}
        self._ready = False
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        try:
            while not self._ready and time.monotonic() < deadline:
                self.poll(1.0)
        except ServerDiedError:
            self._ready = False
        except BaseException:
            self.close()
            raise
        if not self._ready:
            self.close()
            raise IsolationError(
                f"the process that trials are forked from did not start; its output is in {self._log}. "
                "Check that `python -c 'import torch, transformers.trainer'` works in this environment"
            )

    def fork(self, request: ForkRequest) -> int:
        """Ask for a process; its pid, which is its group too.

        Raises:
            ServerDiedError: the server is gone.
        """
        try:
            os.write(self._requests, json.dumps(request._asdict()).encode() + b"\n")
        except BrokenPipeError as error:
            raise ServerDiedError from error
        while request.id not in self._pids:
            self.poll(1.0)
        return self._pids.pop(request.id)

    def poll(self, seconds: float, also: Sequence[int] = ()) -> None:
        """Hear what the server says within so many seconds, or until one of some other descriptors can be read.

        Raises:
            ServerDiedError: the server is gone.
        """
        if self._answers not in readable([self._answers, *also], seconds):
            return
        chunk = os.read(self._answers, 65536)
        if not chunk:
            raise ServerDiedError
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))

    def _hear(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            self._ready = True
        elif "pid" in message:
            self._pids[message["id"]] = message["pid"]
        else:
            self._statuses[message["id"]] = message["status"]

    def status(self, request_id: int) -> int | None:
        """How a process ended, as from ``os.wait``; None while it runs."""
        return self._statuses.get(request_id)

    def close(self) -> None:
        """End the server and all that it has forked."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        if not self._ready:  # it is importing and has forked nothing, and would not look at its pipe for seconds
            self._process.kill()
        try:
            self._process.wait(timeout=CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
