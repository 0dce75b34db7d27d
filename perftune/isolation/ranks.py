"""A data-parallel task to one process a rank: the first that fails ends the others and gives the status."""

import contextlib
import json
import os
import signal
import socket
import time
from pathlib import Path

from perftune.isolation.process import die_with_parent, run_task
from perftune.isolation.protocol import ForkRequest
from perftune.task_folder import result_name

POLL_SECONDS = 0.05
GRACE_SECONDS = 10.0
"""Time for the other ranks to write what they saw, once one has failed; they may hang in a collective for ever."""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_ranks(request: ForkRequest) -> int:
    """Fork a process for each rank with the environment that torchrun would give it; the status of the worst."""
    world = {"WORLD_SIZE": request.num_processes, "LOCAL_WORLD_SIZE": request.num_processes, "MASTER_PORT": free_port()}
    os.environ.update({name: str(value) for name, value in world.items()}, MASTER_ADDR="127.0.0.1")
    running = {_fork_rank(request, rank): rank for rank in range(request.num_processes)}
    status, failed_at = 0, None
    while running:
        pid, ended = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            rank = running.pop(pid)
            status = status or ended
            if failed_at is None and (ended or _tells_failure(Path(request.directory) / result_name(rank))):
                failed_at = time.monotonic()
        elif failed_at is not None and time.monotonic() - failed_at > GRACE_SECONDS:
            for other in running:
                os.kill(other, signal.SIGKILL)
        if pid == 0:
            time.sleep(POLL_SECONDS)
    return _end_like(status)


def _fork_rank(request: ForkRequest, rank: int) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        die_with_parent(parent)
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        status = run_task(request.entry, request.directory)
    finally:
        os._exit(status)


def _tells_failure(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8")).get("failure") is not None
    return False


def _end_like(status: int) -> int:
    """The exit status of a rank, or its signal, given to this process too."""
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    return os.waitstatus_to_exitcode(status)
