"""A request for a process to a fork of the server, which has torch loaded. Parent side, no torch."""

import signal
from collections.abc import Sequence

from perftune.isolation.connection import Connection
from perftune.isolation.launchers.launched import signal_group
from perftune.isolation.protocol import ForkRequest


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
