"""One process with torch and transformers loaded, to a fork of it for each trial.

Python's own forkserver is not used: it imports the caller's ``__main__`` again in every child, and it does not tell
how a child ended. Lines in and out are described in `protocol`. The server has one thread, or it could not fork.

``python -m perftune.isolation.server`` serves; with ``--once REQUEST PARENT`` (JSON, a pid) it runs one task in this
fresh interpreter, which is the way out where forking is not possible.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from perftune.isolation.deferred import FUNCTIONS, defer
from perftune.isolation.process import (
    adopt_orphans,
    become_trial,
    die_with_parent,
    kill_group_after_leader,
    outlive_parent,
    run_task,
    temporary_files,
)
from perftune.isolation.protocol import TRACING, ForkRequest
from perftune.isolation.ranks import run_ranks
from perftune.isolation.readable import readable

YOUNG_OBJECTS, NEVER = 50_000, 1_000_000
"""Thresholds of the garbage collector while modules are imported. What they define stays: looking at all of it again
each time it has grown by a quarter takes a tenth of the import."""


class Server:
    """Reads requests, forks, and tells how each fork ended."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._buffer = b""
        self._running: dict[int, int] = {}
        self._wake_read, self._wake_write = os.pipe()
        for descriptor in (self._wake_read, self._wake_write):
            os.set_blocking(descriptor, False)

    def serve(self) -> None:
        """Until the runner closes its ends, as it does when it dies."""
        adopt_orphans()
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with contextlib.suppress(BrokenPipeError):
            self._answer({"ready": True, "num_threads": _num_threads()})
            while self._wait():
                pass
        self._kill_all()

    def _wait(self) -> bool:
        """For a request, or a fork to end; whether the runner still listens."""
        ready = readable([self._requests, self._wake_read])
        if self._wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
        self._reap()
        return self._requests not in ready or self._read()

    def _read(self) -> bool:
        chunk = os.read(self._requests, 65536)
        if not chunk:
            return False
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            self._fork(ForkRequest(**json.loads(line)))
        return True

    def _fork(self, request: ForkRequest) -> None:
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for descriptor in (self._requests, self._answers, self._wake_read, self._wake_write):
                    os.close(descriptor)
                status = trial_main(request, server)
            finally:
                os._exit(status)
        self._running[pid] = request.id
        self._answer({"id": request.id, "pid": pid})

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid in self._running:
                    self._answer({"id": self._running.pop(pid), "status": status})
        if not self._running:
            for stray in _children():  # set apart by a trial, in a group of their own, and left behind
                _kill(stray)

    def _kill_all(self) -> None:
        """Forks with their groups, then what they had set apart, which comes to this process when they have ended."""
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                for pid in _children():
                    _kill(pid)
                os.waitpid(-1, 0)

    def _answer(self, message: dict[str, Any]) -> None:
        os.write(self._answers, json.dumps(message).encode() + b"\n")


def trial_main(request: ForkRequest, parent: int) -> int:
    """Run a task in this fresh process of a parent, or in one process for each rank below it; the exit status."""
    become_trial(request.directory, parent)
    sys.dont_write_bytecode = True  # or the user's folder would have a __pycache__ that was not there
    os.environ.update(request.environment)
    if request.num_processes > 1:
        return run_ranks(request)
    return run_task(request.entry, request.directory)


def _children() -> list[int]:
    """Pids of all children, adopted ones too (proc(5)); none where the kernel does not tell."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in path.read_text(encoding="ascii").split()] if path.exists() else []


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _num_threads() -> int:
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else 1


def _serve(preload: list[str]) -> None:
    requests, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what an import prints must not be taken for an answer
    die_with_parent()  # nobody reads the pipe while modules are imported; from then on its end tells
    if readable([requests], 0):  # the runner asks for nothing yet, so it has gone
        return
    _load(preload)
    outlive_parent()
    with temporary_files():
        Server(requests, answers).serve()


def _load(modules: list[str]) -> None:
    """Import what forks share. They need not look for garbage in it, which would also copy its pages."""
    if modules:
        defer()
    if TRACING in modules:
        defer(FUNCTIONS)
    thresholds = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, NEVER, NEVER)
    for module in modules:
        importlib.import_module(module)
    gc.freeze()
    gc.set_threshold(*thresholds)


def main(arguments: list[str]) -> None:
    """Serve, with the modules to load first as arguments; or run one task (``--once REQUEST PARENT``)."""
    if arguments[:1] == ["--once"]:
        kill_group_after_leader()
        with temporary_files():
            status = trial_main(ForkRequest(**json.loads(arguments[1])), int(arguments[2]))
        os._exit(status)
    else:
        _serve(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
