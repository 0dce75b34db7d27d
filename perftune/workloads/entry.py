"""What every task with a workload begins and ends with: quiet services, the user's folder, and errors put into words.

Child side.
"""

import os
import sysconfig
import time
import traceback
from pathlib import Path

from perftune.devices import TrainingDevice
from perftune.devices.out_of_memory import causes, says
from perftune.disk import DiskFullError, is_disk_full
from perftune.printable import first_line
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


def said(error: BaseException) -> str:
    """What user code raised, in a line."""
    return f"{type(error).__name__}: {first_line(error)}"


WORKER_ENDS_SECONDS = 0.5
WORKER_KILLED = ("is killed by signal: Killed", "is killed by signal: Terminated")
"""What torch says of a data loader worker that somebody has killed (torch/csrc/DataLoader.cpp)."""


def is_killed_worker(error: BaseException) -> bool:
    """Whether a data loader worker was killed; by whom, only the parent can tell."""
    if any(says(cause, WORKER_KILLED) for cause in causes(error)):
        return True
    if not isinstance(error, ConnectionError | EOFError):
        return False
    # What was asked of a worker while it was killed fails first; that it has ended is seen a moment later.
    ends = time.monotonic() + WORKER_ENDS_SECONDS
    while not (was_killed := _was_worker_killed()) and time.monotonic() < ends:
        time.sleep(0.01)
    return was_killed


def _was_worker_killed() -> bool:
    # Not above: the processes that only look at a workload have no torch yet when they enter it.
    from torch.utils.data._utils import signal_handling

    try:
        signal_handling._error_if_any_worker_fails()  # type: ignore[attr-defined]  # noqa: SLF001 (asked by nobody else)
    except RuntimeError as error:
        return says(error, WORKER_KILLED)
    return False


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
    kind, message = Outcome.CRASHED, first_line(error) or type(error).__name__
    if device.is_out_of_memory(error):
        kind = Outcome.OUT_OF_MEMORY
    elif is_killed_worker(error):
        kind, message = Outcome.KILLED, f"a data loader worker was killed ({message})"
    elif is_disk_full(error):
        kind = Outcome.DISK_FULL
        message = message if isinstance(error, DiskFullError) else f"the disk is full ({message})"
    elif isinstance(error, DivergedError):
        kind = Outcome.DIVERGED
    elif isinstance(error, GaveUpError):
        kind = Outcome.GAVE_UP
    elif isinstance(error, NotImplementedError | ImportError):
        kind = Outcome.UNSUPPORTED
    return Failure(
        kind=kind,
        message=message,
        error_type=f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
        where=place_in_users_code(error),
        traceback="".join(traceback.format_exception(error))[-20_000:],
        peak_bytes=device.peak_bytes(),
        step_seconds=error.step_seconds if isinstance(error, GaveUpError) else None,
        disk_bytes=error.needed_bytes if isinstance(error, DiskFullError) else None,
    )
