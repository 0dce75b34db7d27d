"""The server that trials are forked from: interrupted, killed, orphaned, locked."""

import contextlib
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from perftune.errors import IsolationError, OutputExistsError
from perftune.isolation.runner import ForkServerRunner
from perftune.records.trial import Outcome
from tests.isolation.light_runner import ROOT, eventually, is_alive, light_runner, pids, request

PARENT = """
import sys
from pathlib import Path
from tests.isolation.light_runner import light_runner, request

with light_runner(Path(sys.argv[1]), "hang_with_family", start_method=sys.argv[2]) as runner:
    runner.run(request())
"""


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def descendants(pid: int) -> set[int]:
    """Every process below one, now."""
    found: set[int] = set()
    for path in Path("/proc").glob(f"{pid}/task/*/children"):
        for child in path.read_text(encoding="ascii").split():
            found |= {int(child), *descendants(int(child))}
    return found


def server_pid(runner: ForkServerRunner) -> int:
    assert runner._connection is not None
    return runner._connection._process.pid


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_ctrl_c_ends_the_trial_and_is_passed_on(tmp_path: Path, start_method: str) -> None:
    def interrupt() -> None:
        assert eventually(lambda: len(pids(tmp_path, "hung")) > 0)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    with light_runner(tmp_path, "hang", start_method=start_method) as runner:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            runner.run(request())
        thread.join()
        assert eventually(lambda: not any(map(is_alive, pids(tmp_path, "hung"))))
        assert runner.adopt(1) is None, "an interrupted trial is not a finished one"
        runner._entries["trial"] = "tests.isolation.fault_entries:complete"
        assert runner.run(request()).outcome is Outcome.COMPLETED, "the server has survived"


def test_a_server_that_dies_is_replaced_and_the_trial_run_again(tmp_path: Path) -> None:
    with light_runner(tmp_path, "kill_server_once") as runner:
        trial = runner.run(request())
        assert trial.outcome is Outcome.COMPLETED
        attempts = pids(tmp_path, "ran")
        assert len(attempts) == 2
        assert eventually(lambda: not any(map(is_alive, attempts))), "the first attempt is gone too"
        assert runner.run(request(2)).outcome is Outcome.COMPLETED


def test_a_server_that_dies_between_trials_is_replaced(tmp_path: Path) -> None:
    with light_runner(tmp_path, "complete") as runner:
        runner.run(request(1))
        os.kill(server_pid(runner), signal.SIGKILL)
        assert runner.run(request(2)).outcome is Outcome.COMPLETED


def test_a_server_that_dies_twice_is_an_error_that_names_the_logs(tmp_path: Path) -> None:
    with light_runner(tmp_path, "kill_server") as runner:
        with pytest.raises(IsolationError, match=r"died 2 times in a trial.*server\.log.*log\.txt"):
            runner.run(request())
        assert len(pids(tmp_path, "ran")) == 2
        assert eventually(lambda: not any(map(is_alive, pids(tmp_path, "ran"))))
        assert runner.adopt(1) is None


def test_a_server_that_cannot_start_is_an_error_that_names_its_log(tmp_path: Path) -> None:
    runner = ForkServerRunner(tmp_path, preload=("no_such_module",), entries={"trial": "os:getcwd"})
    with runner, pytest.raises(IsolationError, match=r"did not start; its output is in .*server\.log"):
        runner.run(request())
    assert "no_such_module" in (tmp_path / "server.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_nothing_remains_of_a_parent_that_is_killed(tmp_path: Path, start_method: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), start_method], cwd=ROOT)
    assert eventually(lambda: len(pids(tmp_path, "hung")) == 4)
    below = descendants(parent.pid)
    assert set(pids(tmp_path, "hung")) <= below
    assert all(map(is_alive, below))
    parent.kill()
    parent.wait()
    # Of one that has left the group of a fresh interpreter nobody knows; a fork's is adopted by the server.
    strays = set() if start_method == "fork" else {pids(tmp_path, "hung")[1]}
    below -= strays
    assert eventually(lambda: not any(map(is_alive, below)), 10.0), below
    for pid in strays:
        os.kill(pid, signal.SIGKILL)


def test_a_parent_that_is_killed_frees_the_folder(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), "fork"], cwd=ROOT)
    assert eventually(lambda: len(pids(tmp_path, "hung")) == 4)
    with pytest.raises(OutputExistsError, match="another perftune is running here"):
        light_runner(tmp_path, "complete").__enter__()
    parent.kill()
    parent.wait()
    with light_runner(tmp_path, "complete") as runner:
        assert runner.run(request()).outcome is Outcome.COMPLETED


@pytest.mark.parametrize("parent_is_killed", [False, True])
def test_nothing_is_left_outside_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parent_is_killed: bool
) -> None:
    (temporary := tmp_path / "tmp").mkdir()
    (tmp_path / "module_of_the_user.py").write_text("", encoding="utf-8")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    if parent_is_killed:
        script = PARENT.replace("hang_with_family", "leave_files").replace("request()", "request(2)")
        parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), "fork"], cwd=ROOT)
        assert eventually(lambda: len(pids(tmp_path, "left")) == 1)
        parent.kill()
        parent.wait()
    else:
        with light_runner(tmp_path, "leave_files") as runner:
            assert runner.run(request()).outcome is Outcome.KILLED
            assert len([path for path in temporary.rglob("*") if path.is_file()]) == 2, "it was begun again once"
    assert eventually(lambda: not any(temporary.iterdir()), 10.0)
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_folder_has_one_runner(tmp_path: Path) -> None:
    with light_runner(tmp_path, "complete"):
        with pytest.raises(OutputExistsError, match="another perftune is running here"), light_runner(tmp_path, "hang"):
            pass
        with light_runner(tmp_path / "other", "complete") as other:
            assert other.run(request()).outcome is Outcome.COMPLETED
    with light_runner(tmp_path, "complete") as again:
        assert again.run(request()).outcome is Outcome.COMPLETED


def test_only_a_whole_trial_is_adopted(tmp_path: Path) -> None:
    with light_runner(tmp_path, "complete") as runner:
        trial = runner.run(request())
        path = runner.trial_directory(1) / "trial.json"
        whole = path.read_bytes()
        assert runner.adopt(1) == trial
        assert runner.adopt(2) is None
        for text in (b"", whole[: len(whole) // 2], b"\xff\xfe", b"{}"):
            path.write_bytes(text)
            assert runner.adopt(1) is None


def test_a_trial_inherits_the_preload_and_imports_nothing_again(tmp_path: Path) -> None:
    """Why a later trial starts quickly; how quickly, benchmarks/test_trial_start.py says with the real preload."""
    entries = {"trial": "tests.isolation.imported_here:tell"}
    with ForkServerRunner(tmp_path, preload=("tests.isolation.imported_here",), entries=entries) as runner:
        told = [runner.run(request(number)) for number in (1, 2)]
    assert [trial.outcome for trial in told] == [Outcome.COMPLETED] * 2
    servers, trials = zip(
        *(line.split() for line in (tmp_path / "imported.pids").read_text().splitlines()), strict=True
    )
    assert len(set(servers)) == 1
    assert len(set(trials)) == 2
    assert not set(servers) & set(trials)


def test_what_the_server_has_loaded_is_no_garbage_to_look_for_in_forks(tmp_path: Path) -> None:
    with light_runner(tmp_path, "tell_of_garbage") as runner:
        runner.run(request())
        frozen, thresholds = json.loads((tmp_path / "garbage.json").read_text())
    assert frozen > 0
    assert thresholds == list(gc.get_threshold()), "user code has the collector that it has elsewhere"


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_parent_with_more_than_1024_files_open_runs_trials(tmp_path: Path, start_method: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] != resource.RLIM_INFINITY and limits[1] < 2048:
        pytest.skip("no process may have so many here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2048), limits[1]))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        for _ in range(1100):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        with light_runner(tmp_path, "complete", start_method=start_method) as runner:
            assert runner.run(request()).outcome is Outcome.COMPLETED
