"""Trials of two processes."""

from pathlib import Path

import pytest

from perftune.isolation import ranks
from perftune.records.trial import Outcome
from tests.isolation.light_runner import ROOT, is_alive, light_runner, pids, request


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_each_rank_has_the_environment_of_a_distributed_run(tmp_path: Path, start_method: str) -> None:
    with light_runner(tmp_path, "complete_in_environment", start_method=start_method) as runner:
        trial = runner.run(request(num_processes=2, environment={"OF_THE_CANDIDATE": "yes"}))
    assert trial.outcome is Outcome.COMPLETED
    assert len(set(pids(tmp_path, "ran"))) == 2
    found = []
    for rank in range(2):
        text = (tmp_path / f"trials/0001/environment-{rank}.txt").read_text(encoding="utf-8")
        found.append(dict(line.split("=", 1) for line in text.splitlines()))
    assert found[0].pop("MASTER_PORT") == found[1].pop("MASTER_PORT")
    common = {"OF_THE_CANDIDATE": "yes", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    assert found == [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]


@pytest.mark.parametrize(
    ("entry", "outcome", "said"),
    [
        ("ranks_one_out_of_memory", Outcome.OUT_OF_MEMORY, "rank 1 needs more"),
        ("ranks_one_segfaults", Outcome.CRASHED, "SIGSEGV"),
        ("fill_disk", Outcome.DISK_FULL, "the disk is full"),
    ],
)
def test_the_worst_rank_decides(tmp_path: Path, entry: str, outcome: Outcome, said: str) -> None:
    with light_runner(tmp_path, entry) as runner:
        trial = runner.run(request(num_processes=2))
    assert trial.outcome is outcome
    assert trial.failure is not None
    assert said in trial.failure.message


def test_a_rank_that_fails_does_not_leave_the_others_hanging(tmp_path: Path) -> None:
    deadline_seconds = 20 * ranks.GRACE_SECONDS
    with light_runner(tmp_path, "ranks_one_fails_other_hangs") as runner:
        trial = runner.run(request(num_processes=2, deadline_seconds=deadline_seconds))
    assert trial.outcome is Outcome.CRASHED
    assert trial.failure is not None
    assert trial.failure.message == "rank 1 raised"
    assert trial.wall_seconds < deadline_seconds
    assert len(pids(tmp_path, "hung")) == 1
    assert not any(map(is_alive, pids(tmp_path, "hung")))
