"""Each way in which a trial can end, provoked in a real process."""

import os
import signal
from pathlib import Path

import pytest

from perftune.errors import NoRoomError
from perftune.isolation.runner import ForkServerRunner
from perftune.records.survey import SurveyRequest
from perftune.records.trial import Heartbeat, Outcome, Trial, WorkloadSource
from tests.isolation.light_runner import ROOT, eventually, is_alive, light_runner, pids, request

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


ENDINGS = [
    ("complete", Outcome.COMPLETED, ""),
    ("kill_itself", Outcome.KILLED, "SIGKILL"),
    ("segfault", Outcome.CRASHED, "SIGSEGV"),
    ("abort", Outcome.CRASHED, "SIGABRT"),
    ("bad_alloc", Outcome.OUT_OF_MEMORY, "want of memory"),
    ("use_all_memory", Outcome.OUT_OF_MEMORY, "want of memory"),
    ("say_nothing", Outcome.CRASHED, "without a result"),
    ("leave_at_once", Outcome.CRASHED, "status 3 and without a result; its last words: bye"),
    ("write_half", Outcome.CRASHED, "half a result"),
    ("raise_uncaught", Outcome.CRASHED, "the label column is missing"),
    ("tell_divergence", Outcome.DIVERGED, "the loss is nan in step 3"),
    ("tell_unsupported", Outcome.UNSUPPORTED, "no such kernel here"),
    ("fill_disk", Outcome.DISK_FULL, "the disk is full"),
    ("fill_disk_with_log", Outcome.DISK_FULL, "the disk is full"),
    ("end_itself", Outcome.KILLED, "SIGTERM"),
]


def check(trial: Trial, outcome: Outcome, said: str) -> None:
    assert trial.outcome is outcome, trial.failure
    assert (trial.measurement is not None) == (outcome is Outcome.COMPLETED)
    if trial.failure is not None:
        assert said in trial.failure.message


@pytest.mark.parametrize(("entry", "outcome", "said"), ENDINGS)
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_ending(tmp_path: Path, start_method: str, entry: str, outcome: Outcome, said: str) -> None:
    with light_runner(tmp_path, entry, start_method=start_method) as runner:
        trial = runner.run(request())
        check(trial, outcome, said)
        assert runner.adopt(1) == trial, "a finished trial is on disk, whole"


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_what_is_killed_from_outside_once_is_run_again(tmp_path: Path, start_method: str) -> None:
    with light_runner(tmp_path, "kill_itself_once", start_method=start_method) as runner:
        trial = runner.run(request())
        assert trial.outcome is Outcome.COMPLETED
        assert trial.num_kills == 1
        assert runner.run(request(2)).num_kills == 0
    assert len(pids(tmp_path, "ran")) == 3


@pytest.mark.parametrize(("entry", "num_runs"), [("kill_itself", 2), ("segfault", 1), ("tell_divergence", 1)])
def test_what_is_killed_twice_counts_and_nothing_else_is_run_again(tmp_path: Path, entry: str, num_runs: int) -> None:
    with light_runner(tmp_path, entry) as runner:
        trial = runner.run(request())
        assert runner._num_requests == num_runs
    assert trial.num_kills == num_runs - 1


def test_what_the_kernel_killed_for_want_of_memory_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter(range(10))
    monkeypatch.setattr("perftune.isolation.watch.num_oom_kills", lambda: next(counts))
    with light_runner(tmp_path, "kill_itself") as runner:
        check(runner.run(request()), Outcome.OUT_OF_MEMORY, "the kernel killed the process")
        assert runner._num_requests == 1


def test_the_server_outlives_every_ending(tmp_path: Path) -> None:
    entries = {entry: f"tests.isolation.fault_entries:{entry}" for entry, *_ in ENDINGS}
    with light_runner(tmp_path, "complete") as runner:
        for number, (entry, outcome, said) in enumerate(ENDINGS, 1):
            runner._entries["trial"] = entries[entry]
            check(runner.run(request(number)), outcome, said)
        log = (tmp_path / "server.log").read_text(encoding="utf-8")
    assert log == "", "nothing that a trial does reaches the server"


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_hang_ends_at_its_deadline_with_all_its_descendants(tmp_path: Path, start_method: str) -> None:
    beats: list[Heartbeat] = []
    deadline_seconds = 8.0 if start_method == "fork" else 20.0  # a busy machine starts an interpreter within it
    with light_runner(tmp_path, "hang_with_family", start_method=start_method) as runner:
        trial = runner.run(request(deadline_seconds=deadline_seconds), beats.append)
        check(trial, Outcome.TIMED_OUT, f"no result within {deadline_seconds:.0f} s")
        family = pids(tmp_path, "hung")
        assert len(family) == 4
        inside = family if start_method == "fork" else [family[0], *family[2:]]
        assert eventually(lambda: not any(map(is_alive, inside))), family
    if start_method == "spawn":  # without the server there is nobody to catch one that left the group
        assert is_alive(family[1])
        os.kill(family[1], signal.SIGKILL)
    assert [beat.phase for beat in beats] == ["build"]


def test_a_stall_ends_before_the_deadline(tmp_path: Path) -> None:
    with light_runner(tmp_path, "stall", min_stall_seconds=1.0) as runner:
        trial = runner.run(request(deadline_seconds=300.0))
    check(trial, Outcome.TIMED_OUT, "no progress for 1 s")
    assert trial.wall_seconds < 300
    assert not any(map(is_alive, pids(tmp_path, "hung")))


def test_what_was_in_the_folder_is_not_taken_for_a_result(tmp_path: Path) -> None:
    with light_runner(tmp_path, "complete") as runner:
        assert runner.run(request()).outcome is Outcome.COMPLETED
    with light_runner(tmp_path, "say_nothing") as runner:
        assert runner.run(request()).outcome is Outcome.CRASHED


def test_the_candidates_environment_is_for_its_trial_alone(tmp_path: Path) -> None:
    with light_runner(tmp_path, "complete_in_environment") as runner:
        runner.run(request(1, environment={"OF_THE_CANDIDATE": "yes"}))
        runner.run(request(2))
    told = [(tmp_path / f"trials/{n:04d}/environment-0.txt").read_text(encoding="utf-8") for n in (1, 2)]
    assert [text.splitlines()[0] for text in told] == ["OF_THE_CANDIDATE=yes", "OF_THE_CANDIDATE="]


def test_a_survey_that_finds_the_disk_full_says_what_to_free(tmp_path: Path) -> None:
    source = WorkloadSource(working_directory=".")
    asked = SurveyRequest(workload=source, arguments={}, global_batch_size=8, device="cpu")
    entries = {"survey": "tests.isolation.fault_entries:fill_disk"}
    with (
        ForkServerRunner(tmp_path, preload=(), entries=entries) as runner,
        pytest.raises(NoRoomError, match=r"cannot be built: the disk is full.*Free some space"),
    ):
        runner.survey(asked)
