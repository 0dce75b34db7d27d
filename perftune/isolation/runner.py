"""A trial request to a trial: a process of its own, watched, killed in time, classified. Parent side, no torch."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from perftune.errors import (
    DeviceError,
    IsolationError,
    NoRoomError,
    OutputExistsError,
    PerftuneError,
    WorkloadError,
)
from perftune.files import write_atomically
from perftune.isolation.classify import Facts, classify, was_killed
from perftune.isolation.connection import Connection, ServerDiedError
from perftune.isolation.heat import GoesOn, Heat, KilledFromOutsideError, TurnPlan
from perftune.isolation.launchers.forked import Forked
from perftune.isolation.launchers.launched import Process
from perftune.isolation.launchers.spawned import Spawned
from perftune.isolation.protocol import ENTRIES, PRELOAD, ForkRequest
from perftune.isolation.task import Task, ended_trial, trial_task
from perftune.isolation.watch import OnHeartbeat, Watch
from perftune.records.survey import Survey, SurveyRequest, SurveyResult
from perftune.records.trace import Trace, TraceRequest, TraceResult
from perftune.records.trial import Failure, Heartbeat, Outcome, Trial, TrialRequest
from perftune.task_folder import LOG, REQUEST, TRIAL

MIN_STALL_SECONDS = 120.0
ROUND_TRIP_SECONDS = 300.0
ATTEMPTS = 2
"""A task is begun again if the server died under it; if it dies again, the task or the machine is to blame."""
DEVICE_ERROR = f"{DeviceError.__module__}.{DeviceError.__qualname__}"
ADVICE = {
    "ModuleNotFoundError": " Install it in the environment that perftune runs in.",
    "SystemExit": " The code ends the process; let build return a Trainer instead.",
}
"""What to do about an error of the user's code that does not say so itself."""
CUDA_REFUSES_FORK = "re-initialize CUDA in forked subprocess"
"""What torch says when CUDA was initialised before the fork (torch/cuda/__init__.py)."""

T = TypeVar("T")


class TrialRunner(Protocol):
    """What runs trials; a test passes one that answers from a recording."""

    def run(self, request: TrialRequest, on_heartbeat: Callable[[Heartbeat], None] | None = None) -> Trial:
        """Run one trial to its end, whatever that is."""

    def run_in_turns(
        self,
        requests: Sequence[TrialRequest],
        plan: TurnPlan,
        goes_on: GoesOn,
        on_heartbeat: Callable[[Heartbeat], None] | None = None,
    ) -> list[Trial]:
        """Run several trials side by side, in turns, to their ends."""


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

    def ask(self, task: Task, on_heartbeat: OnHeartbeat | None = None) -> Facts:
        """Run a task to its end, whatever that is. One that is killed from outside is run again, once.

        Raises:
            IsolationError: the server died twice.
        """

        def attempt() -> Facts:
            task.prepare()
            with self._started(task) as process:
                end = self._watch(process, task, on_heartbeat).until_end(task.deadline_seconds)
            return task.facts(end)

        facts = self._attempts(attempt, task.name, task.directory)
        if not was_killed(facts):
            return facts
        return self._attempts(attempt, task.name, task.directory)._replace(num_kills=1)

    def run(self, request: TrialRequest, on_heartbeat: Callable[[Heartbeat], None] | None = None) -> Trial:
        """Run one trial.

        Raises:
            IsolationError: the server died twice.
        """
        if not self._spawns:
            self._ensure_server()
        asked = self._clock()
        # The monotonic clock is the same in all processes of a machine, so the child can tell how long its start took.
        request = request.model_copy(update={"requested_monotonic_seconds": asked})
        task = trial_task(request, self.trial_directory(request.number))
        facts = self.ask(task, on_heartbeat)
        return ended_trial(request, task, facts, self._clock() - asked)

    def run_in_turns(
        self,
        requests: Sequence[TrialRequest],
        plan: TurnPlan,
        goes_on: GoesOn,
        on_heartbeat: Callable[[Heartbeat], None] | None = None,
    ) -> list[Trial]:
        """Run several trials side by side: live processes that take turns, each stopped while another has its turn.

        That they fit beside each other in memory is the caller's affair. A heat in which one is killed from outside is
        begun again, once: the others have nobody to be compared with from then on.

        Args:
            requests: of at least two trials. Their stop rules say nothing here: all run the same steps.
            plan: how long the turns are.
            goes_on: is asked after every round.
            on_heartbeat: is told of all of them.

        Returns:
            The trials in the order of their requests; ``heat`` is the number of the first in all of them.

        Raises:
            IsolationError: the server died twice.
        """
        requests = [request.model_copy(update={"heat": requests[0].number}) for request in requests]

        def attempt(num_kills: int) -> list[Trial]:
            if not self._spawns:
                self._ensure_server()
            heat = Heat(
                plan,
                start=self._started,
                watch=lambda process, task: self._watch(process, task, on_heartbeat),
                task=lambda request: trial_task(request, self.trial_directory(request.number)),
                clock=self._clock,
                num_kills=num_kills,
            )
            return heat.run(requests, goes_on)

        directory = self.trial_directory(requests[0].number)
        try:
            return self._attempts(lambda: attempt(0), "heat", directory)
        except KilledFromOutsideError:
            return self._attempts(lambda: attempt(1), "heat", directory)

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
            NoRoomError: a disk is full.
            DeviceError: the device that was asked for is not there.
        """
        directory = self._directory / "survey"
        inputs = {REQUEST: request.model_dump_json(indent=1)}
        facts = self.ask(Task("survey", directory, inputs, request.deadline_seconds))
        told: Failure | None = None
        with contextlib.suppress(ValidationError, IndexError):
            result = SurveyResult.model_validate_json(facts.results[0])
            if result.survey is not None:
                return result.survey
            told = result.failure
        if told is not None and not self._spawns and CUDA_REFUSES_FORK in told.message:
            self._spawns = True
            return self.survey(request)
        if told is not None and told.error_type == DEVICE_ERROR:
            raise DeviceError(told.message)
        raise _no_answer("the workload cannot be built", facts, told, directory)

    def trace(self, request: TraceRequest, number: int) -> Trace:
        """Trace a training step on shapes.

        Raises:
            WorkloadError: it cannot be built or traced; says why.
            NoRoomError: a disk is full.
        """
        directory = self._directory / "traces" / f"{number:04d}"
        inputs = {REQUEST: request.model_dump_json(indent=1)}
        facts = self.ask(Task("trace", directory, inputs, request.deadline_seconds, request.environment))
        told: Failure | None = None
        with contextlib.suppress(ValidationError, IndexError):
            result = TraceResult.model_validate_json(facts.results[0])
            if result.trace is not None:
                return result.trace
            told = result.failure
        raise _no_answer("the training step cannot be traced", facts, told, directory)

    def round_trip(self, yaml_text: str) -> dict[str, Any]:
        """What transformers reads from a TrainingArguments file.

        Raises:
            WorkloadError: it refuses the file.
            NoRoomError: a disk is full.
        """
        directory = self._directory / "round_trip"
        facts = self.ask(Task("round_trip", directory, {"arguments.yaml": yaml_text}, ROUND_TRIP_SECONDS))
        try:
            answer: dict[str, Any] = json.loads(facts.results[0])
        except (IndexError, ValueError):
            raise _no_answer("the written arguments could not be read back", facts, None, directory) from None
        if "error" in answer:
            raise WorkloadError(f"transformers refuses the written arguments: {answer['error']}")
        arguments: dict[str, Any] = answer["arguments"]
        return arguments

    def _attempts(self, attempt: Callable[[], T], what: str, directory: Path) -> T:
        for _ in range(ATTEMPTS):
            with contextlib.suppress(ServerDiedError):
                return attempt()
            self._close()
        raise IsolationError(
            f"the process that trials are forked from died {ATTEMPTS} times in a {what}; its output is in "
            f"{self._server_log}, that of the {what} in {directory / LOG}. A machine out of memory is the usual cause"
        )

    def _watch(self, process: Process, task: Task, on_heartbeat: OnHeartbeat | None) -> Watch:
        return Watch(process, task.directory, self._min_stall_seconds, self._clock, on_heartbeat)

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
    def _started(self, task: Task) -> Iterator[Process]:
        self._num_requests += 1
        entry, environment = self._entries[task.name], dict(task.environment)
        request = ForkRequest(self._num_requests, entry, str(task.directory), environment, task.num_processes)
        process: Process = Spawned(request) if self._spawns else Forked(self._ensure_server(), request)
        try:
            yield process
        finally:
            process.end()


def _no_answer(what: str, facts: Facts, told: Failure | None, directory: Path) -> PerftuneError:
    """The error of a task that gave no answer."""
    failure = told or classify(facts).failure
    if failure is not None and failure.kind is Outcome.DISK_FULL:
        return NoRoomError(f"{what}: {failure.message} ({directory}). Free some space and run the same command again")
    return WorkloadError(f"{what}: {_why(facts, told, directory)}")


def _why(facts: Facts, told: Failure | None, directory: Path) -> str:
    """Why a task gave no answer: what it tells itself, or how it ended; and where all of it is."""
    if told is not None and "perftune" in str(told.error_type):
        return told.message
    if told is not None:
        path = directory / "traceback.txt"
        write_atomically(path, told.traceback or "")
        where = f"{told.where}: " if told.where else ""
        said = f"{where}{told.error_type}: {told.message}".rstrip(".")
        return f"{said}.{ADVICE.get(str(told.error_type), '')} The whole traceback is in {path}"
    failure = classify(facts).failure
    return f"{failure.message if failure else 'no answer'} (its output: {directory / LOG})"
