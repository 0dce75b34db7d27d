"""A request for a process to a fresh interpreter: slow, and the way out where forking fails. Parent side, no torch."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from perftune.isolation.environment import server_environment
from perftune.isolation.launchers.launched import signal_group
from perftune.isolation.protocol import ForkRequest
from perftune.isolation.readable import readable
from perftune.task_folder import LOG


class Spawned:
    """A fresh interpreter."""

    def __init__(self, request: ForkRequest) -> None:
        once = ["--once", json.dumps(request._asdict()), str(os.getpid())]
        command = [sys.executable, "-m", "perftune.isolation.server", *once]
        environment = {**server_environment(os.environ), **request.environment}
        with (Path(request.directory) / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        self.pid = self._process.pid
        self._ended = os.pidfd_open(self.pid)

    def wait(self, seconds: float, also: Sequence[int] = ()) -> int | None:
        """See `Process`."""
        readable([self._ended, *also], seconds)
        code = self._process.poll()
        if code is None:
            return None
        return -code if code < 0 else code << 8

    def end(self) -> None:
        """See `Process`."""
        signal_group(self.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._ended)
