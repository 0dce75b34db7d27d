"""A trial request to a trial: a process of its own, watched, killed in time, classified. Parent side, no torch."""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from pydantic import ValidationError

from perftune.errors import IsolationError, OutputExistsError, WorkloadError
from perftune.files import write_atomically
from perftune.isolation.classify import LOG_TAIL_CHARACTERS, Facts, classify
from perftune.isolation.connection import Connection, ServerDiedError
from perftune.isolation.launch import Forked, Process, Spawned
from perftune.isolation.protocol import ENTRIES, PRELOAD, ForkRequest
from perftune.isolation.watch import OnHeartbeat, Watch
from perftune.records.survey import Survey, SurveyRequest, SurveyResult
from perftune.records.trace import Trace, TraceRequest, TraceResult
from perftune.records.trial import Failure, Heartbeat, Trial, TrialRequest
from perftune.task_folder import LOG, REQUEST, RESULT, TRIAL

MIN_STALL_SECONDS = 120.0
ROUND_TRIP_SECONDS = 300.0
ATTEMPTS = 2
"""A task is begun again if the server died under it; if it dies again, the task or the machine is to blame."""
CUDA_REFUSES_FORK = "re-initialize CUDA in forked subprocess"
"""What torch says when CUDA was initialised before the fork (torch/cuda/__init__.py)."""


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
        min_stall_seconds: float = MIN_STALL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            directory: the run's folder; trials go to ``trials/NNNN`` below it.
            preload: modules that the server imports.
            entries: task -> ``module:function``.
            start_method: ``fork``, or ``spawn`` for a fresh interpreter each time (slow; where forking fails).
            min_stall_seconds: a trial that trains may be silent for so long in any case.
            clock: monotonic seconds, the same clock as ``time.monotonic`` in children.
        """
        self._directory = directory.absolute()
        self._preload, self._entries, self._clock = tuple(preload), dict(entries), clock
        self._min_stall_seconds = min_stall_seconds
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
        self._close()
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
        directory = self.trial_directory(request.number)
        if not self._spawns:
            self._ensure_server()
        asked = self._clock()
        # The monotonic clock is the same in all processes of a machine, so the child can tell how long its start took.
        request = request.model_copy(update={"requested_monotonic_seconds": asked})
        verdict = classify(
            self._run_task(
                "trial",
                directory,
                {REQUEST: request.model_dump_json(indent=1)},
                request.deadline_seconds,
                on_heartbeat=on_heartbeat,
                environment=request.environment,
                num_processes=request.num_processes,
            )
        )
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
        """Look at a workload. Being the first, it also tells whether CUDA comes up in a fork; if not, all are spawned.

        Raises:
            WorkloadError: it cannot be built; says why and where the whole output is.
        """
        directory = self._directory / "survey"
        inputs = {REQUEST: request.model_dump_json(indent=1)}
        facts = self._run_task("survey", directory, inputs, request.deadline_seconds)
        with contextlib.suppress(ValidationError, IndexError):
            result = SurveyResult.model_validate_json(facts.results[0])
            if result.survey is not None:
                return result.survey
            if result.failure is not None and not self._spawns and CUDA_REFUSES_FORK in result.failure.message:
                self._spawns = True
                return self.survey(request)
            if result.failure is not None:
                write_atomically(directory / "traceback.txt", result.failure.traceback or "")
                raise WorkloadError(f"the workload cannot be built: {_said(result.failure)} (all of it: {directory})")
        failure = classify(facts).failure
        raise WorkloadError(
            f"the workload cannot be built: {failure.message if failure else 'no survey'} "
            f"(its output: {directory / LOG})"
        )

    def trace(self, request: TraceRequest, number: int) -> Trace:
        """Trace a training step on shapes.

        Raises:
            WorkloadError: it cannot be built or traced; says why.
        """
        directory = self._directory / "traces" / f"{number:04d}"
        inputs = {REQUEST: request.model_dump_json(indent=1)}
        facts = self._run_task("trace", directory, inputs, request.deadline_seconds, environment=request.environment)
        with contextlib.suppress(ValidationError, IndexError):
            result = TraceResult.model_validate_json(facts.results[0])
            if result.trace is not None:
                return result.trace
            if result.failure is not None:
                write_atomically(directory / "traceback.txt", result.failure.traceback or "")
                raise WorkloadError(
                    f"the training step cannot be traced: {_said(result.failure)} (all of it: {directory})"
                )
        failure = classify(facts).failure
        raise WorkloadError(
            f"the training step cannot be traced: {failure.message if failure else 'no trace'} "
            f"(its output: {directory / LOG})"
        )

    def round_trip(self, yaml_text: str) -> dict[str, Any]:
        """What transformers reads from a TrainingArguments file.

        Raises:
            WorkloadError: it refuses the file.
        """
        directory = self._directory / "round_trip"
        facts = self._run_task("round_trip", directory, {"arguments.yaml": yaml_text}, ROUND_TRIP_SECONDS)
        try:
            answer: dict[str, Any] = json.loads(facts.results[0])
        except (IndexError, ValueError):
            failure = classify(facts).failure
            answer = {"error": f"{failure.message if failure else 'no answer'} (its output: {directory / LOG})"}
        if "error" in answer:
            raise WorkloadError(f"transformers refuses the written arguments: {answer['error']}")
        arguments: dict[str, Any] = answer["arguments"]
        return arguments

    def _run_task(
        self,
        task: str,
        directory: Path,
        inputs: Mapping[str, str],
        deadline_seconds: float,
        *,
        on_heartbeat: OnHeartbeat | None = None,
        environment: Mapping[str, str] | None = None,
        num_processes: int = 1,
    ) -> Facts:
        self._num_requests += 1
        request = ForkRequest(
            self._num_requests, self._entries[task], str(directory), dict(environment or {}), num_processes
        )
        for _ in range(ATTEMPTS):
            _fresh(directory)
            for name, text in inputs.items():
                write_atomically(directory / name, text)
            try:
                with self._started(request) as process:
                    watch = Watch(directory, deadline_seconds, self._min_stall_seconds, self._clock, on_heartbeat)
                    status, ending, limit = watch.until_end(process)
                return Facts(_results(directory), status, ending, _log_tail(directory), limit)
            except ServerDiedError:
                self._close()
        raise IsolationError(
            f"the process that trials are forked from died {ATTEMPTS} times in a {task}; its output is in "
            f"{self._server_log}, that of the {task} in {directory / LOG}. A machine out of memory is the usual cause"
        )

    @property
    def _server_log(self) -> Path:
        return self._directory / "server.log"

    def _ensure_server(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self._preload, self._server_log)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _started(self, request: ForkRequest) -> Iterator[Process]:
        process: Process = Spawned(request) if self._spawns else Forked(self._ensure_server(), request)
        try:
            yield process
        finally:
            process.end()


def _said(failure: Failure) -> str:
    """The type of an error of others, and its message."""
    kind = f"{failure.error_type}: " if "perftune" not in str(failure.error_type) else ""
    return f"{kind}{failure.message}"


def _fresh(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)


def _results(directory: Path) -> list[str]:
    paths = [directory / RESULT, *sorted(directory.glob("result-*.json"))]
    return [path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()]


def _log_tail(directory: Path) -> str:
    with contextlib.suppress(OSError), (directory / LOG).open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_CHARACTERS))
        return log.read().decode("utf-8", errors="replace")
    return ""
