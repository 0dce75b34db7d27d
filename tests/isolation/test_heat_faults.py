"""A contender that goes wrong in its turn is an outcome and not the end of the others; nothing survives a heat."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from perftune.isolation import heat as heat_module
from perftune.isolation.runner import ForkServerRunner
from perftune.records.heat import Round
from perftune.records.trial import Outcome
from perftune.units import GIB
from tests.isolation.heats import Watcher, contender, heat, measured
from tests.isolation.light_runner import ROOT, eventually, is_alive
from tests.isolation.test_runner_server import descendants

pytestmark = pytest.mark.long

PARENT = """
import sys, time
from pathlib import Path
from perftune.isolation.runner import ForkServerRunner
from tests.isolation.heats import Watcher, contender, heat

def all_are_stopped(rounds):
    (Path(sys.argv[1]) / "stopped").touch()
    time.sleep(600)

with ForkServerRunner(Path(sys.argv[1]), start_method=sys.argv[2]) as runner:
    workers = {"dataloader_num_workers": 1}
    heat(runner, [contender(1, arguments=workers), contender(2, arguments=workers)], Watcher(all_are_stopped))
"""


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServerRunner]:
    with ForkServerRunner(tmp_path_factory.mktemp("run")) as runner:
        yield runner


def below() -> set[int]:
    return descendants(os.getpid())


def state(pid: int) -> tuple[str, int]:
    """State letter, and ticks of CPU time so far (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return fields[0], int(fields[11]) + int(fields[12])


def stopped(pids: Collection[int]) -> list[int]:
    return [pid for pid in pids if state(pid)[0] in "Tt"]


@pytest.mark.parametrize(
    ("how", "outcome", "said"),
    [
        ("raise", Outcome.CRASHED, "this candidate wants no fifth step"),
        ("kill", Outcome.KILLED, "SIGKILL"),
        ("memory", Outcome.OUT_OF_MEMORY, "can't allocate memory"),
        ("stop", Outcome.COMPLETED, ""),
    ],
)
def test_one_that_ends_in_its_turn_leaves_the_others_to_go_on(
    runner: ForkServerRunner, how: str, outcome: Outcome, said: str
) -> None:
    watcher = Watcher()
    wrong = contender(2, "going_wrong", environment={"GOES_WRONG": how}, memory_limit_bytes=GIB)
    one, other, two = heat(runner, [contender(1), wrong, contender(3)], watcher, slice_seconds=1e-6, max_rounds=6)
    assert other.outcome is outcome
    assert said in (other.failure.message if other.failure else "")
    assert len(measured(one).slices) == len(measured(two).slices) == 6
    assert measured(one).steps.loss == measured(two).steps.loss
    assert [2 in turns for turns in watcher.rounds] == [True] * 2 + [False] * 4
    assert not stopped(below())


@pytest.mark.parametrize("how", ["kill once", "kill worker once"])
def test_a_heat_in_which_one_is_killed_from_outside_is_begun_again(
    runner: ForkServerRunner, tmp_path: Path, how: str
) -> None:
    environment = {"GOES_WRONG": how, "GOES_WRONG_IN": str(tmp_path)}
    wrong = contender(2, "going_wrong", environment=environment, arguments={"dataloader_num_workers": 1})
    one, other = heat(runner, [contender(1), wrong], slice_seconds=1e-6, max_rounds=4)
    assert (tmp_path / "killed").exists()
    assert len(measured(one).slices) == len(measured(other).slices) == 4
    assert one.num_kills == other.num_kills == 1


def test_one_that_hangs_is_ended_when_its_turn_has_taken_too_long(
    runner: ForkServerRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heat_module, "SLOW", 0.0)
    hanging = contender(2, "going_wrong", environment={"GOES_WRONG": "hang"})
    one, other = heat(runner, [contender(1), hanging], slice_seconds=1e-6, max_rounds=6, min_deadline_seconds=10.0)
    assert other.outcome is Outcome.TIMED_OUT
    assert other.failure is not None
    assert "no result within 10 s" in other.failure.message
    assert len(measured(one).slices) == 3, "the last one left has nobody to be compared with"
    assert measured(one).stopped_because == "heat_ended"


def test_one_that_cannot_be_built_leaves_the_others(runner: ForkServerRunner) -> None:
    wrong, one, two = heat(runner, [contender(1, "unsupported"), contender(2), contender(3)])
    assert wrong.outcome is Outcome.UNSUPPORTED
    assert len(measured(one).slices) == len(measured(two).slices) == 3


def test_with_one_left_from_the_start_there_are_no_rounds(runner: ForkServerRunner) -> None:
    wrong, one = heat(runner, [contender(1, "unsupported"), contender(2)])
    assert wrong.outcome is Outcome.UNSUPPORTED
    assert measured(one).slices == ()
    assert len(measured(one).steps) == 2, "the warm-up"


def test_who_waits_takes_no_time(runner: ForkServerRunner) -> None:
    """With threads of its own that never rest, also in its data loader worker."""
    ticks: list[tuple[int, int]] = []

    def look(rounds: Sequence[Round]) -> None:
        assert eventually(lambda: len(stopped(below())) == 4), "two contenders and a worker of each"
        pids = stopped(below())
        before = sum(state(pid)[1] for pid in pids)
        time.sleep(0.3)
        ticks.append((before, sum(state(pid)[1] for pid in pids)))

    workers = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    requests = [contender(number, "spinning", arguments=workers) for number in (1, 2)]
    heat(runner, requests, Watcher(look), slice_seconds=0.3)
    assert len(ticks) == 3
    assert all(before == after for before, after in ticks), ticks
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(ticks)), "they do spin"


@pytest.mark.parametrize(("start_method", "while_stopped"), [("fork", True), ("fork", False), ("spawn", True)])
def test_nothing_survives_an_interrupt(tmp_path: Path, start_method: str, while_stopped: bool) -> None:
    others, seen = below(), set[int]()

    def interrupt(rounds: Sequence[Round]) -> None:
        seen.update(below() - others)
        if while_stopped:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    workers = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    requests = [contender(number, arguments=workers) for number in (1, 2)]
    with ForkServerRunner(tmp_path, start_method=start_method) as runner:
        with pytest.raises(KeyboardInterrupt):
            heat(runner, requests, Watcher(interrupt), slice_seconds=5.0)
        assert len(seen) >= 4
        server = runner._connection._process.pid if runner._connection is not None else None
        assert eventually(lambda: not any(is_alive(pid) for pid in seen - {server}))
        assert runner.adopt(1) is None
        assert runner.adopt(2) is None


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_nothing_remains_stopped_when_the_parent_is_killed(tmp_path: Path, start_method: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), start_method], cwd=ROOT, env=environment)
    assert eventually(lambda: (tmp_path / "stopped").exists() or parent.poll() is not None, 300.0)
    family = descendants(parent.pid)
    assert eventually(lambda: len(stopped(family)) == 4)
    parent.kill()
    parent.wait()
    assert eventually(lambda: not any(map(is_alive, family))), [(pid, state(pid)) for pid in family if is_alive(pid)]


def test_a_server_that_dies_is_replaced_and_the_heat_run_again(tmp_path: Path) -> None:
    with ForkServerRunner(tmp_path) as runner:

        def kill_once(rounds: Sequence[Round]) -> None:
            if not (tmp_path / "killed").exists():
                (tmp_path / "killed").touch()
                assert runner._connection is not None
                os.kill(runner._connection._process.pid, signal.SIGKILL)

        watcher = Watcher(kill_once)
        one, two = map(measured, heat(runner, [contender(1), contender(2)], watcher))
    assert len(one.slices) == len(two.slices) == len(watcher.rounds) == 3
