"""The protocol of a trial, child side: ``request.json`` in; ``heartbeat.json`` while it runs; ``result.json`` out.

The folder of the trial is the only thing shared with the parent. ``request.json`` holds a `TrialRequest`,
``result.json`` a `TrialResult`, whole or not there at all; standard output and error go to ``log.txt``. With more than
one process, rank 0 writes ``result.json`` and the others ``result-<rank>.json``. Whatever the user's code raises
becomes a failure with its message; what kills the process is seen by the parent from outside. A trial of a heat also
reads ``turn`` and writes ``answer``, see `turns`.
"""

import shutil
import time
from pathlib import Path

from perftune.devices import TrainingDevice, training_device
from perftune.files import write_atomically
from perftune.measuring.collective import own_rank
from perftune.measuring.heartbeat import HeartbeatFile
from perftune.measuring.measure import measure
from perftune.records.trial import Measurement, TrialRequest, TrialResult
from perftune.task_folder import heartbeat_name, result_name
from perftune.workloads.entry import describe_failure, enter


def result_path(directory: Path) -> Path:
    """Where this process writes its result."""
    return directory / result_name(own_rank())


def _attempt(request: TrialRequest, directory: Path, device: TrainingDevice, entered: float) -> TrialResult:
    heartbeat = HeartbeatFile(directory / heartbeat_name(own_rank()), device.used_bytes)
    try:
        return TrialResult(measurement=_measured(request, directory, device, heartbeat, entered))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 (whatever user code raises, SystemExit too, is an outcome)
        device.lift_cap()
        return TrialResult(failure=describe_failure(error, device))


def _measured(
    request: TrialRequest, directory: Path, device: TrainingDevice, heartbeat: HeartbeatFile, entered: float
) -> Measurement:
    asked = request.requested_monotonic_seconds
    return measure(request, directory, device, heartbeat, start_seconds=max(0.0, entered - asked) if asked else 0.0)


def execute(directory: Path) -> None:
    """Run the trial whose request lies in a folder.

    Raises:
        OSError: the result cannot be written (disk full); the parent sees a trial without a result.
    """
    entered = time.monotonic()
    request = TrialRequest.model_validate_json((directory / "request.json").read_text(encoding="utf-8"))
    enter(request.workload)
    device = training_device(request.device)
    try:
        result = _attempt(request, directory, device, entered)
    finally:
        shutil.rmtree(directory / "output", ignore_errors=True)
    write_atomically(result_path(directory), result.model_dump_json(indent=1))
