"""A running task to what it answers or how it ended: heartbeats are passed on; once its time is over it is killed."""

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from perftune.devices.cgroup import num_oom_kills
from perftune.isolation.bounded_log import bound
from perftune.isolation.channel import Channel
from perftune.isolation.classify import Ending
from perftune.isolation.launchers.launched import Process, signal_group
from perftune.records.trial import Heartbeat
from perftune.task_folder import HEARTBEAT, LOG

POLL_SECONDS = 0.1
"""An end or an answer is seen at once; so often it is asked whether the time is over."""
HEARTBEAT_SECONDS = 0.2
"""So often what it says is looked at: its heartbeat, and how large its log has become."""
STALL_STEPS = 50
"""A trial that trains has stalled after so many of its own steps without a heartbeat, but not before the minimum."""

OnHeartbeat = Callable[[Heartbeat], None]


class End(NamedTuple):
    """How a process ended."""

    status: int
    """As from ``os.wait``."""
    ending: Ending
    limit_seconds: float
    """That was passed, if one was."""
    num_oom_kills: int | None = None
    """See `Facts`."""


class Watch:
    """Waits for one process, as often as it is asked to; in between its time does not run."""

    def __init__(
        self,
        process: Process,
        directory: Path,
        min_stall_seconds: float,
        clock: Callable[[], float],
        on_heartbeat: OnHeartbeat | None = None,
    ) -> None:
        self._process, self._file, self._log = process, directory / HEARTBEAT, directory / LOG
        self._min_stall_seconds, self._clock, self._on_heartbeat = min_stall_seconds, clock, on_heartbeat
        self._oom_kills = num_oom_kills()
        self._modified_ns = 0
        self._last: Heartbeat | None = None
        self._begin(0.0)

    def _begin(self, deadline_seconds: float) -> None:
        self._deadline_seconds = deadline_seconds
        self._begun = self._beaten = self._looked = self._clock()
        self._ending, self._limit_seconds = Ending.ITSELF, 0.0

    def until_end(self, deadline_seconds: float) -> End:
        """Wait until the process has ended, by itself or because its time was over."""
        self._begin(deadline_seconds)
        while (status := self._process.wait(POLL_SECONDS)) is None:
            self._check()
        return self._end(status)

    def until_answer(self, channel: Channel, deadline_seconds: float) -> str | End:
        """Wait for a line from the process, or for its end."""
        self._begin(deadline_seconds)
        while (status := self._process.wait(POLL_SECONDS, [channel.answers])) is None:
            if (line := channel.heard()) is not None:
                return line
            self._check()
        return self._end(status)

    def _end(self, status: int) -> End:
        bound(self._log)
        now = num_oom_kills()
        oom_kills = None if now is None or self._oom_kills is None else now - self._oom_kills
        return End(status, self._ending, self._limit_seconds, oom_kills)

    def _check(self) -> None:
        """Pass a heartbeat on; kill the group once its time is over."""
        now = self._clock()
        self._look(now)
        if self._ending is Ending.ITSELF:
            self._ending, self._limit_seconds = self._verdict(now)
            if self._ending is not Ending.ITSELF:
                signal_group(self._process.pid, signal.SIGKILL)

    def _verdict(self, now: float) -> tuple[Ending, float]:
        if now - self._begun > self._deadline_seconds:
            return Ending.DEADLINE, self._deadline_seconds
        if now - self._beaten > self._stall_seconds():
            return Ending.STALL, self._stall_seconds()
        return Ending.ITSELF, 0.0

    def _stall_seconds(self) -> float:
        if self._last is None or self._last.step_seconds is None or self._last.phase != "train":
            return self._deadline_seconds
        return max(self._min_stall_seconds, STALL_STEPS * self._last.step_seconds)

    def _look(self, now: float) -> None:
        if now - self._looked < HEARTBEAT_SECONDS:
            return
        self._looked = now
        bound(self._log)
        with contextlib.suppress(OSError, ValidationError):
            modified_ns = self._file.stat().st_mtime_ns
            if modified_ns == self._modified_ns:
                return
            self._last = Heartbeat.model_validate_json(self._file.read_text(encoding="utf-8"))
            self._modified_ns, self._beaten = modified_ns, now
            if self._on_heartbeat is not None:
                self._on_heartbeat(self._last)
