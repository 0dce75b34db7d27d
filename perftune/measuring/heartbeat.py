"""The progress of a trial to a small file that the parent watches. Child side."""

import time
from collections.abc import Callable
from pathlib import Path

from perftune.records.trial import Heartbeat

INTERVAL_SECONDS = 0.25
"""Steps faster than this share a beat, so that beating costs a fast step nothing."""


class HeartbeatFile:
    """Writes heartbeats, not more often than the parent looks."""

    def __init__(
        self, path: Path, used_bytes: Callable[[], int | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._used_bytes = used_bytes
        self._clock = clock
        self._phase = ""
        self._due = 0.0

    def beat(self, phase: str, num_steps: int = 0, step_seconds: float | None = None) -> None:
        """Tell the parent where the trial is; a new phase is told at once."""
        now = self._clock()
        if phase == self._phase and now < self._due:
            return
        self._phase, self._due = phase, now + INTERVAL_SECONDS
        beat = Heartbeat(phase=phase, num_steps=num_steps, step_seconds=step_seconds, memory_bytes=self._used_bytes())
        fresh = self._path.with_suffix(".new")
        fresh.write_text(beat.model_dump_json(), encoding="utf-8")
        fresh.replace(self._path)
