"""A forked process to one that runs a task: own group, own log, dies with its parent, first to go when memory ends."""

import contextlib
import ctypes
import importlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from perftune.disk import is_disk_full
from perftune.isolation.deferred import undefer
from perftune.isolation.protocol import DISK_FULL_STATUS
from perftune.isolation.readable import readable
from perftune.task_folder import LOG

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""linux/prctl.h"""
OOM_SCORE_ADJ = "1000"
"""The kernel's first choice when memory runs out (proc(5)): the trial and not the machine."""


def run_entry(entry: str, directory: str) -> None:
    """Import ``module:function`` and call it with the folder."""
    module, _, function = entry.partition(":")
    getattr(importlib.import_module(module), function)(Path(directory))


def become_trial(directory: str, parent: int) -> None:
    """Set a fresh process of this parent apart: session and group of its own, no input, output to ``log.txt``."""
    with contextlib.suppress(PermissionError):  # a spawned process leads its group already
        os.setsid()
    die_with_parent(parent)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_ADJ, encoding="ascii")
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(Path(directory) / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(log)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, buffering=1, closefd=False) for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )


@contextlib.contextmanager
def temporary_files() -> Iterator[None]:
    """Temporary files of this process and its forks are in a folder that goes at the end.

    A trial that is killed, or ends without the interpreter's clean-up as a fork does, leaves them: each data loader
    with workers a folder. The folder is not the run's, as sockets in it may have names of 107 bytes only (unix(7)).
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="perftune-", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


def die_with_parent(parent: int | None = None) -> None:
    """Let the kernel kill this process when its parent ends, and end at once if it has already (Linux).

    Args:
        parent: its pid; None where another way tells whether it is still there.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def outlive_parent() -> None:
    """Take `die_with_parent` back."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0)


def kill_group_after_leader() -> None:
    """Set a process apart that kills the group of this one, its leader, once this one has ended (Linux).

    The fork server does that for its forks. A fresh interpreter whose parent is killed dies with it, but data loader
    workers that are stopped at that moment would never see it and stay for ever.
    """
    if sys.platform != "linux":
        return
    leader = os.pidfd_open(group := os.getpid())
    if first := os.fork():
        os.waitpid(first, 0)
        os.close(leader)
        return
    os.setsid()
    if os.fork() == 0:  # no child of the trial, which may wait for all of its own
        readable([leader])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    os._exit(0)


def adopt_orphans() -> None:
    """Become the parent of all descendants that lose theirs, so that none escapes (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def run_task(entry: str, directory: str) -> int:
    """Run a task in this process, whatever it raises to the log; the exit status."""
    undefer()
    try:
        run_entry(entry, directory)
        status = 0
    except BaseException as error:  # noqa: BLE001 (the last frame of the process: whatever it is goes to the log)
        with contextlib.suppress(OSError):
            traceback.print_exc()
        status = DISK_FULL_STATUS if is_disk_full(error) else 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return status
