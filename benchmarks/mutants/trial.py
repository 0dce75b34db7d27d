"""A mutant to whether tests notice it: run in a fork, in a copy of the project, with other packages imported before."""

import importlib
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".benchmarks", ".hypothesis", "runs", "*.egg-info")
PARTS = ("perftune", "tests", "benchmarks", "probes")
SLOWER, LEAST_CPU_SECONDS = 5.0, 10.0
"""A mutant that takes more processor time than so many times the tests as they are is one that does not end."""
MOST_SECONDS = 1800.0
"""And one that takes so long by the clock waits for ever; a busy machine does not make it that slow."""
POLL_SECONDS = 0.005


class End(str, Enum):
    """How the tests ended."""

    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed out"


@contextmanager
def copied_project() -> Iterator[Path]:
    """A copy of the working tree to change, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder) / "project"
        shutil.copytree(PROJECT, copy, ignore=NOT_COPIED, symlinks=True)
        yield copy


class Tests:
    """Some tests of a copied project, run as often as there are mutants.

    The first run shows that they pass, how long they take, and which packages they import from outside the project.
    These are imported here once, and every further run is a fork that has them.
    """

    def __init__(self, project: Path, paths: Sequence[str]) -> None:
        self._project, self._paths = project, list(paths)
        self._packages = project.parent / "packages"
        self._most_cpu_seconds = int(MOST_SECONDS)
        self.cpu_seconds = self._first()
        self._most_cpu_seconds = math.ceil(max(SLOWER * self.cpu_seconds, LEAST_CPU_SECONDS))

    def _first(self) -> float:
        if self.run() is not End.PASSED:
            raise ValueError(f"{' '.join(self._paths)} must pass before anything is changed:\n{self._log.read_text()}")
        for name in self._packages.read_text(encoding="utf-8").split():
            with suppress(Exception):  # what cannot be imported by itself is imported by the tests
                importlib.import_module(name)
        before = _cpu_seconds_of_children()
        self.run()
        return _cpu_seconds_of_children() - before

    def run(self) -> End:
        """Run them once, until the first that fails."""
        begin = time.monotonic()
        pid = os.fork()
        if pid == 0:
            self._child()
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return {0: End.PASSED, -signal.SIGXCPU: End.TIMED_OUT}.get(code, End.FAILED)
            if time.monotonic() - begin > MOST_SECONDS:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return End.TIMED_OUT
            time.sleep(POLL_SECONDS)

    @property
    def _log(self) -> Path:
        return self._project.parent / "log.txt"

    def _child(self) -> None:
        """Never returns."""
        code = 1
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (self._most_cpu_seconds, resource.RLIM_INFINITY))
            log = os.open(self._log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(log, 1)
            os.dup2(log, 2)
            self._only_the_copy()
            options = ["-x", "-q", "-p", "pytest_timeout", "--basetemp", str(self._project.parent / "temporary")]
            code = int(pytest.main([*options, *self._paths]))
            self._note_packages()
        finally:
            os._exit(code)

    def _only_the_copy(self) -> None:
        """The project is imported from its copy, here and in what the tests start."""
        for name in [name for name in sys.modules if name.split(".")[0] in PARTS]:
            del sys.modules[name]
        os.chdir(self._project)
        sys.path[:] = [str(self._project), *(path for path in sys.path if path and Path(path) != PROJECT)]
        sys.argv[:] = ["pytest"]
        # Byte code is told from its source by time and size, which a mutant may share with another.
        sys.dont_write_bytecode = True
        os.environ |= {
            "PYTHONPATH": str(self._project),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }

    def _note_packages(self) -> None:
        """In the order in which they were imported; plugins of pytest want to be imported by it."""
        names = [name for name in sys.modules if name.split(".")[0] not in {*PARTS, "__main__"}]
        wanted = [name for name in names if not name.startswith(("pytest_", "_pytest", "conftest"))]
        self._packages.write_text("\n".join(wanted), encoding="utf-8")


def _cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def mutated(file: Path, source: str) -> Iterator[None]:
    """A file with another source, for a time."""
    before = file.read_text(encoding="utf-8")
    file.write_text(source, encoding="utf-8")
    for cached in file.parent.glob(f"__pycache__/{file.stem}.*.pyc"):
        cached.unlink()
    try:
        yield
    finally:
        file.write_text(before, encoding="utf-8")
