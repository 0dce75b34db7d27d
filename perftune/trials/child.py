"""The protocol of a trial, child side: ``request.json`` in; ``heartbeat.json`` while it runs; ``result.json`` out.

The folder of the trial is the only thing shared with the parent. ``request.json`` holds a `TrialRequest`,
``result.json`` a `TrialResult`, whole or not there at all; standard output and error go to ``log.txt``. With more than
one process, rank 0 writes ``result.json`` and the others ``result-<rank>.json``. Whatever the user's code raises
becomes a failure with its message; what kills the process is seen by the parent from outside. A trial of a heat also
reads ``turn`` and writes ``answer``, see `turns`.
"""

import os
import shutil
import time
import traceback
from pathlib import Path

from perftune.devices import TrainingDevice, training_device
from perftune.records.study import write_atomically
from perftune.records.trial import Failure, Measurement, Outcome, TrialRequest, TrialResult
from perftune.trials.collective import own_rank
from perftune.trials.heartbeat import HeartbeatFile
from perftune.trials.measure import measure
from perftune.trials.protocol import heartbeat_name, result_name
from perftune.trials.session import DivergedError, GaveUpError

SILENT = {
    "WANDB_MODE": "disabled",
    "WANDB_DISABLED": "true",
    "COMET_MODE": "DISABLED",
    "DISABLE_MLFLOW_INTEGRATION": "TRUE",
    "CLEARML_LOG_MODEL": "FALSE",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Environment that keeps reporting services quiet in a trial, also those that user code starts by itself."""


def result_path(directory: Path) -> Path:
    """Where this process writes its result."""
    return directory / result_name(own_rank())


def describe_failure(error: BaseException, device: TrainingDevice) -> Failure:
    """The outcome that an exception stands for."""
    kind = Outcome.CRASHED
    if device.is_out_of_memory(error):
        kind = Outcome.OUT_OF_MEMORY
    elif isinstance(error, DivergedError):
        kind = Outcome.DIVERGED
    elif isinstance(error, GaveUpError):
        kind = Outcome.GAVE_UP
    elif isinstance(error, NotImplementedError | ImportError):
        kind = Outcome.UNSUPPORTED
    message = str(error).strip().splitlines()
    return Failure(
        kind=kind,
        message=message[0] if message else type(error).__name__,
        error_type=f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
        traceback="".join(traceback.format_exception(error))[-20_000:],
        peak_bytes=device.peak_bytes(),
        step_seconds=error.step_seconds if isinstance(error, GaveUpError) else None,
    )


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
    os.environ.update(SILENT)
    os.chdir(request.workload.working_directory)
    device = training_device(request.device)
    try:
        result = _attempt(request, directory, device, entered)
    finally:
        shutil.rmtree(directory / "output", ignore_errors=True)
    write_atomically(result_path(directory), result.model_dump_json(indent=1))
