"""What is asked of a process to a fresh folder with its inputs, and afterwards to the facts of how it ended."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from perftune.files import write_atomically
from perftune.isolation.classify import LOG_TAIL_CHARACTERS, Facts, classify
from perftune.isolation.watch import End
from perftune.records.trial import Trial, TrialRequest
from perftune.task_folder import LOG, REQUEST, RESULT, TRIAL


class Task(NamedTuple):
    """One run of an entry in a process of its own."""

    name: str
    """As in ``ENTRIES``."""
    directory: Path
    inputs: Mapping[str, str]
    """Name of a file -> its text."""
    deadline_seconds: float
    environment: Mapping[str, str] = MappingProxyType({})
    num_processes: int = 1

    def prepare(self) -> None:
        """Make its folder anew, with nothing but the inputs in it."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True, exist_ok=True)
        for name, text in self.inputs.items():
            write_atomically(self.directory / name, text)

    def facts(self, end: End) -> Facts:
        """What is known once it has ended."""
        paths = [self.directory / RESULT, *sorted(self.directory.glob("result-*.json"))]
        results = [path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()]
        tail = _tail(self.directory / LOG)
        return Facts(results, end.status, end.ending, tail, end.limit_seconds, end.num_oom_kills)


def trial_task(request: TrialRequest, directory: Path) -> Task:
    """The task of a trial."""
    return Task(
        "trial",
        directory,
        {REQUEST: request.model_dump_json(indent=1)},
        request.deadline_seconds,
        request.environment,
        request.num_processes,
    )


def ended_trial(request: TrialRequest, task: Task, facts: Facts, wall_seconds: float) -> Trial:
    """The trial of a process that ended, which is left in its folder too."""
    outcome, measurement, failure = classify(facts)
    trial = Trial(
        number=request.number,
        purpose=request.purpose,
        candidate=request.candidate,
        outcome=outcome,
        measurement=measurement,
        failure=failure,
        wall_seconds=wall_seconds,
        heat=request.heat,
        num_kills=facts.num_kills,
    )
    write_atomically(task.directory / TRIAL, trial.model_dump_json(indent=1))
    return trial


def _tail(log: Path) -> str:
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_CHARACTERS))
        return file.read().decode("utf-8", errors="replace")
    return ""
