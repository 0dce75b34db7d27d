"""A log without end takes bounded room on the disk and in what is read of it."""

from pathlib import Path

import pytest

from perftune.isolation import bounded_log
from perftune.isolation.bounded_log import bound
from perftune.isolation.classify import LOG_TAIL_CHARACTERS
from perftune.records.trial import Outcome
from perftune.units import MIB
from tests.isolation.light_runner import light_runner, request


def test_the_beginning_and_the_end_are_kept_and_what_comes_next_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("MOST_BYTES", 100), ("HEAD_BYTES", 10), ("TAIL_BYTES", 20)):
        monkeypatch.setattr(bounded_log, name, value)
    log = tmp_path / "log.txt"
    with log.open("ab", buffering=0) as file:
        file.write(b"0123456789" * 10)
        bound(log)
        assert log.stat().st_size == 100
        file.write(b"A" * 30 + b"B" * 20)
        bound(log)
        file.write(b"next")
    assert log.read_text() == "0123456789\n… perftune left out 120 bytes of this log …\n" + "B" * 20 + "next"


def test_a_log_that_is_not_there_is_no_matter(tmp_path: Path) -> None:
    bound(tmp_path / "log.txt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_trial_that_prints_without_end_fills_no_disk(tmp_path: Path, start_method: str) -> None:
    with light_runner(tmp_path, "print_without_end", start_method=start_method) as runner:
        trial = runner.run(request())
        log = runner.trial_directory(1) / "log.txt"
        assert log.stat().st_size < 10 * MIB
        text = log.read_text(encoding="utf-8")
    assert trial.outcome is Outcome.CRASHED
    assert trial.failure is not None
    assert "its last words: that was all" in trial.failure.message
    assert trial.failure.traceback is not None
    assert len(trial.failure.traceback) <= LOG_TAIL_CHARACTERS
    assert text.startswith("line 0\n")
    assert "perftune left out" in text
