"""A trial request to a trial: a forked process, watched, killed at its deadline, classified. Parent side, no torch."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from pydantic import ValidationError

from perftune.errors import IsolationError, OutputExistsError, WorkloadError
from perftune.records.study import write_atomically
from perftune.records.survey import Survey, SurveyRequest, SurveyResult
from perftune.records.trial import Heartbeat, Trial, TrialRequest
from perftune.trials.classify import LOG_TAIL_CHARACTERS, Ending, Facts, classify
from perftune.trials.connection import Connection, ServerDiedError
from perftune.trials.protocol import ENTRIES, HEARTBEAT, LOG, PRELOAD, REQUEST, RESULT, TRIAL, ForkRequest

POLL_SECONDS = 0.02
HEARTBEAT_SECONDS = 0.2
MIN_STALL_SECONDS = 120.0
STALL_STEPS = 50
"""A trial that trains has stalled after so many of its own steps without a heartbeat, but not before the minimum."""


class TrialRunner(Protocol):
    """What runs trials; a test passes one that answers from a recording."""

    def run(self, request: TrialRequest, on_heartbeat: Callable[[Heartbeat], None] | None = None) -> Trial:
        """Run one trial to its end, whatever that is."""


class ForkServerRunner:
    """Runs each trial in a process forked from one that has torch loaded."""

    def __init__(
        self,
        directory: Path,
        *,
        preload: Sequence[str] = PRELOAD,
        entries: Mapping[str, str] = ENTRIES,
        start_method: str = "fork",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            directory: the run's folder; trials go to ``trials/NNNN`` below it.
            preload: modules that the server imports.
            entries: task -> ``module:function``.
            start_method: ``fork``, or ``spawn`` for a fresh interpreter each time (slow; where forking fails).
            clock: monotonic seconds, the same clock as ``time.monotonic`` in children.
        """
        self._directory = directory.absolute()
        self._preload, self._entries, self._clock = tuple(preload), dict(entries), clock
        self._spawns = start_method == "spawn" or not hasattr(os, "fork")
        self._connection: Connection | None = None
        self._num_requests = 0
        self._lock: Any = None

    def __enter__(self) -> "ForkServerRunner":
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock = (self._directory / ".lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise OutputExistsError(
                f"{self._directory}: another perftune is running here; wait for it or name another folder with --out"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.close()

    def trial_directory(self, number: int) -> Path:
        """Where a trial has its files."""
        return self._directory / "trials" / f"{number:04d}"

    def run(self, request: TrialRequest, on_heartbeat: Callable[[Heartbeat], None] | None = None) -> Trial:
        """Run one trial.

        Raises:
            IsolationError: the server died twice.
        """
        directory = _fresh(self.trial_directory(request.number))
        asked = self._clock()
        # The monotonic clock is the same in all processes of a machine, so the child can tell how long its start took.
        request = request.model_copy(update={"requested_monotonic_seconds": asked})
        self._ensure_server()
        facts = self._run_task("trial", directory, request, request.deadline_seconds, on_heartbeat)
        verdict = classify(facts)
        trial = Trial(
            number=request.number,
            purpose=request.purpose,
            candidate=request.candidate,
            outcome=verdict.outcome,
            measurement=verdict.measurement,
            failure=verdict.failure,
            wall_seconds=self._clock() - asked,
        )
        write_atomically(directory / TRIAL, trial.model_dump_json(indent=1))
        return trial

    def adopt(self, number: int) -> Trial | None:
        """A trial that was finished but is in no study yet, because perftune was killed between the two."""
        try:
            return Trial.model_validate_json((self.trial_directory(number) / TRIAL).read_text(encoding="utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError):
            return None

    def survey(self, request: SurveyRequest) -> Survey:
        """Look at a workload.

        Raises:
            WorkloadError: it cannot be built; says why and where the whole output is.
        """
        directory = _fresh(self._directory / "survey")
        facts = self._run_task("survey", directory, request, request.deadline_seconds, None)
        with contextlib.suppress(ValidationError, IndexError):
            result = SurveyResult.model_validate_json(facts.results[0])
            if result.survey is not None:
                return result.survey
            if result.failure is not None:
                write_atomically(directory / "traceback.txt", result.failure.traceback or "")
                kind = f"{result.failure.error_type}: " if "perftune" not in str(result.failure.error_type) else ""
                raise WorkloadError(
                    f"the workload cannot be built: {kind}{result.failure.message} (all of it: {directory})"
                )
        failure = classify(facts).failure
        raise WorkloadError(
            f"the workload cannot be built: {failure.message if failure else 'no survey'} "
            f"(its output: {directory / LOG})"
        )

    def round_trip(self, yaml_text: str) -> dict[str, Any]:
        """What transformers reads from a TrainingArguments file.

        Raises:
            WorkloadError: it refuses the file.
        """
        directory = _fresh(self._directory / "round_trip")
        write_atomically(directory / "arguments.yaml", yaml_text)
        facts = self._run_task("round_trip", directory, None, 300.0, None)
        answer: dict[str, Any] = json.loads(facts.results[0]) if facts.results else {"error": facts.log_tail}
        if "error" in answer:
            raise WorkloadError(f"transformers refuses the written arguments: {answer['error']}")
        arguments: dict[str, Any] = answer["arguments"]
        return arguments

    def _run_task(
        self,
        task: str,
        directory: Path,
        request: TrialRequest | SurveyRequest | None,
        deadline_seconds: float,
        on_heartbeat: Callable[[Heartbeat], None] | None,
    ) -> Facts:
        if request is not None:
            write_atomically(directory / REQUEST, request.model_dump_json(indent=1))
        environment = request.environment if isinstance(request, TrialRequest) else {}
        num_processes = request.num_processes if isinstance(request, TrialRequest) else 1
        for attempt in (1, 2):
            try:
                with self._started(self._entries[task], directory, environment, num_processes) as process:
                    watch = _Watch(directory, deadline_seconds, self._clock, on_heartbeat)
                    status, ending, limit = watch.until_end(process)
                return Facts(_results(directory), status, ending, _log_tail(directory), limit)
            except ServerDiedError as error:  # noqa: PERF203 (two rounds at most)
                self._connection = None
                if attempt == 2:
                    raise IsolationError(
                        f"the process that trials are forked from died twice; its output is in {self._server_log}"
                    ) from error
        raise AssertionError("unreachable")

    @property
    def _server_log(self) -> Path:
        return self._directory / "server.log"

    def _ensure_server(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self._preload, self._server_log)
        return self._connection

    @contextmanager
    def _started(
        self, entry: str, directory: Path, environment: dict[str, str], num_processes: int
    ) -> "Iterator[_Process]":
        process: _Process
        if self._spawns:
            process = _Spawned(entry, directory, environment)
        else:
            self._num_requests += 1
            request = ForkRequest(self._num_requests, entry, str(directory), environment, num_processes)
            connection = self._ensure_server()
            process = _Forked(connection, request.id, connection.fork(request))
        try:
            yield process
        finally:
            _kill_group(process.pid)


class _Process(Protocol):
    pid: int

    def wait(self, seconds: float) -> int | None:
        """The wait status, or None if it still runs after so many seconds."""


class _Forked:
    def __init__(self, connection: Connection, request_id: int, pid: int) -> None:
        self._connection, self._id, self.pid = connection, request_id, pid

    def wait(self, seconds: float) -> int | None:
        if self._connection.status(self._id) is None:
            self._connection.poll(seconds)
        return self._connection.status(self._id)


class _Spawned:
    def __init__(self, entry: str, directory: Path, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "perftune.trials.server", "--once", entry, str(directory)]
        with (directory / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environment}
            )
        self.pid = self._process.pid

    def wait(self, seconds: float) -> int | None:
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return -code if code < 0 else code << 8


class _Watch:
    """Waits for a process, passes its heartbeats on and kills it when its time is over."""

    def __init__(
        self,
        directory: Path,
        deadline_seconds: float,
        clock: Callable[[], float],
        on_heartbeat: Callable[[Heartbeat], None] | None,
    ) -> None:
        self._file = directory / HEARTBEAT
        self._deadline_seconds, self._clock, self._on_heartbeat = deadline_seconds, clock, on_heartbeat
        self._modified_ns = 0
        self._last: Heartbeat | None = None
        self._begun = self._beaten = self._looked = clock()

    def until_end(self, process: _Process) -> tuple[int, Ending, float]:
        """Wait status, who ended it, and the limit that was passed in seconds."""
        ending, limit = Ending.ITSELF, 0.0
        while (status := process.wait(POLL_SECONDS)) is None:
            now = self._clock()
            self._look(now)
            if ending is not Ending.ITSELF:
                continue
            if now - self._begun > self._deadline_seconds:
                ending, limit = Ending.DEADLINE, self._deadline_seconds
            elif now - self._beaten > self._stall_seconds():
                ending, limit = Ending.STALL, self._stall_seconds()
            if ending is not Ending.ITSELF:
                _kill_group(process.pid)
        return status, ending, limit

    def _stall_seconds(self) -> float:
        if self._last is None or self._last.step_seconds is None or self._last.phase != "train":
            return self._deadline_seconds
        return max(MIN_STALL_SECONDS, STALL_STEPS * self._last.step_seconds)

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


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _fresh(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def _results(directory: Path) -> list[str]:
    paths = [directory / RESULT, *sorted(directory.glob("result-*.json"))]
    return [path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()]


def _log_tail(directory: Path) -> str:
    with contextlib.suppress(OSError):
        return (directory / LOG).read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:]
    return ""
