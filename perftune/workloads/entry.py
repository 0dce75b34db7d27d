"""What every task with a workload begins and ends with: quiet services, the user's folder, and errors put into words.

Child side.
"""

import os
import sysconfig
import traceback
from pathlib import Path

from perftune.devices import TrainingDevice
from perftune.records.trial import Failure, Outcome, WorkloadSource

SILENT = {
    "WANDB_MODE": "disabled",
    "WANDB_DISABLED": "true",
    "COMET_MODE": "DISABLED",
    "DISABLE_MLFLOW_INTEGRATION": "TRUE",
    "CLEARML_LOG_MODEL": "FALSE",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Environment that keeps reporting services quiet in a trial, also those that user code starts by itself."""


INSTALLED = (
    str(Path(__file__).parents[1]),
    *{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")},
)
"""Folders of what is not the user's own."""


class DivergedError(Exception):
    """The loss is not a number."""


class GaveUpError(Exception):
    """The first step takes so long that the candidate cannot win."""

    def __init__(self, message: str, step_seconds: float) -> None:
        super().__init__(message)
        self.step_seconds = step_seconds
        """Of the whole step, as far as it can be foreseen."""


def enter(workload: WorkloadSource) -> None:
    """Let nothing be reported, and be where the user's relative paths start from."""
    os.environ.update(SILENT)
    os.chdir(workload.working_directory)


def place_in_users_code(error: BaseException) -> str | None:
    """The last line of the user's own that was being run, as ``train.py, line 6``; None if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((*INSTALLED, "<"))]
    if isinstance(error, SyntaxError) or not own:
        return None  # a SyntaxError says itself where it is
    path = Path(own[-1].filename)
    return f"{path.name if path.parent == Path.cwd() else path}, line {own[-1].lineno}"


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
        where=place_in_users_code(error),
        traceback="".join(traceback.format_exception(error))[-20_000:],
        peak_bytes=device.peak_bytes(),
        step_seconds=error.step_seconds if isinstance(error, GaveUpError) else None,
    )
