"""A forked process to one that runs a task: own group, own log, dies with its parent, first to go when memory ends."""

import contextlib
import ctypes
import importlib
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

from perftune.trials.protocol import LOG, ForkRequest

PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""
OOM_SCORE_ADJ = "1000"
"""The kernel's first choice when memory runs out (proc(5)): the trial and not the machine."""


def run_entry(entry: str, directory: str) -> None:
    """Import ``module:function`` and call it with the folder."""
    module, _, function = entry.partition(":")
    getattr(importlib.import_module(module), function)(Path(directory))


def become_trial(directory: str) -> None:
    """Set a fresh process apart: session and group of its own, no input, output to ``log.txt``."""
    os.setsid()
    die_with_parent()
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


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def join_ranks(num_processes: int) -> list[int]:
    """Fork the other ranks of a data-parallel trial; returns in every rank, with the others' pids in rank 0."""
    world = {"WORLD_SIZE": num_processes, "LOCAL_WORLD_SIZE": num_processes, "MASTER_PORT": free_port()}
    os.environ.update({name: str(value) for name, value in world.items()}, MASTER_ADDR="127.0.0.1")
    os.environ.update(RANK="0", LOCAL_RANK="0")
    others = []
    for rank in range(1, num_processes):
        pid = os.fork()
        if pid == 0:
            die_with_parent()
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
            return []
        others.append(pid)
    return others


def trial_main(request: ForkRequest) -> int:
    """Run a task in this freshly forked process; the exit status."""
    become_trial(request.directory)
    os.environ.update(request.environment)
    others = join_ranks(request.num_processes) if request.num_processes > 1 else []
    try:
        run_entry(request.entry, request.directory)
        status = 0
    except BaseException:  # noqa: BLE001 (the last frame of the process: whatever it is goes to the log)
        traceback.print_exc()
        status = 1
    for pid in others:
        status = max(status, 1 if os.waitpid(pid, 0)[1] else 0)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return status
