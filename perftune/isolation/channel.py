"""The parent's ends of the FIFOs in a trial's folder: a line out for each turn, a line in when it has been taken."""

import contextlib
import json
import os
from pathlib import Path

from perftune.task_folder import ANSWER, Turn, turn_name


class Channel:
    """To and from one contender, however many processes it has."""

    def __init__(self, directory: Path, num_processes: int) -> None:
        """Make the FIFOs; the contender, started afterwards, opens them without waiting for anybody."""
        self._paths = [directory / name for name in (ANSWER, *map(turn_name, range(num_processes)))]
        for path in self._paths:
            os.mkfifo(path, 0o600)
        # Opened for both ways a FIFO has a reader and a writer at once: nothing here blocks, fails or ends. How a
        # contender ended is told by its process; of its FIFO its data loader workers would hold an end, too.
        self.answers = os.open(self._paths[0], os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        """The descriptor to wait for."""
        self._turns = [os.open(path, os.O_RDWR | os.O_CLOEXEC) for path in self._paths[1:]]
        self._buffer = b""

    def give(self, turn: Turn) -> None:
        """Tell every process of the contender."""
        line = json.dumps(turn._asdict()).encode() + b"\n"
        for descriptor in self._turns:
            os.write(descriptor, line)

    def heard(self) -> str | None:
        """A whole line, if there is one."""
        with contextlib.suppress(BlockingIOError):
            self._buffer += os.read(self.answers, 65536)
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return None
        self._buffer = rest
        return line.decode()

    def close(self) -> None:
        """Close and remove all."""
        for descriptor in (self.answers, *self._turns):
            os.close(descriptor)
        for path in self._paths:
            path.unlink(missing_ok=True)
