"""A running task to how it ended: its heartbeats passed on, its group killed when its time is over."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from perftune.isolation.classify import Ending
from perftune.isolation.launch import Process, kill_group
from perftune.records.trial import Heartbeat
from perftune.task_folder import HEARTBEAT

POLL_SECONDS = 0.02
HEARTBEAT_SECONDS = 0.2
STALL_STEPS = 50
"""A trial that trains has stalled after so many of its own steps without a heartbeat, but not before the minimum."""

OnHeartbeat = Callable[[Heartbeat], None]


class Watch:
    """Waits for one process."""

    def __init__(
        self,
        directory: Path,
        deadline_seconds: float,
        min_stall_seconds: float,
        clock: Callable[[], float],
        on_heartbeat: OnHeartbeat | None,
    ) -> None:
        self._file = directory / HEARTBEAT
        self._deadline_seconds, self._min_stall_seconds = deadline_seconds, min_stall_seconds
        self._clock, self._on_heartbeat = clock, on_heartbeat
        self._modified_ns = 0
        self._last: Heartbeat | None = None
        self._begun = self._beaten = self._looked = clock()

    def until_end(self, process: Process) -> tuple[int, Ending, float]:
        """Wait status, who ended it, and the limit that was passed in seconds."""
        ending, limit = Ending.ITSELF, 0.0
        while (status := process.wait(POLL_SECONDS)) is None:
            now = self._clock()
            self._look(now)
            if ending is Ending.ITSELF:
                ending, limit = self._verdict(now)
                if ending is not Ending.ITSELF:
                    kill_group(process.pid)
        return status, ending, limit

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
        with contextlib.suppress(OSError, ValidationError):
            modified_ns = self._file.stat().st_mtime_ns
            if modified_ns == self._modified_ns:
                return
            self._last = Heartbeat.model_validate_json(self._file.read_text(encoding="utf-8"))
            self._modified_ns, self._beaten = modified_ns, now
            if self._on_heartbeat is not None:
                self._on_heartbeat(self._last)
