"""perftune is killed with SIGKILL at random moments: nothing stays alive, gets lost, or is run again once finished."""

import time
from pathlib import Path

import pytest

from tests.tuning.killing import LIGHT, REAL, kill, kill_once, unhindered

pytestmark = pytest.mark.long

NUM_KILLS = 12
MIN_KILLS_AMONG_TRIALS = 3
"""So many must come after a start has run a trial of its own, or the test has killed only what was starting."""


def test_kills_lose_nothing_and_run_nothing_twice(tmp_path: Path) -> None:
    begin = time.monotonic()
    whole = unhindered(LIGHT, tmp_path / "whole").recommendation
    duration = time.monotonic() - begin
    kills, studies = kill(LIGHT, tmp_path, NUM_KILLS, duration / 3)
    assert kills.number >= NUM_KILLS
    assert kills.among_trials >= MIN_KILLS_AMONG_TRIALS
    for study in studies:
        assert study.recommendation is not None
        assert whole is not None
        assert study.recommendation.candidate == whole.candidate


@pytest.mark.parametrize("sign", ["server.log", "survey/log.txt", "trials/0001/heartbeat.json"])
def test_nothing_is_left_of_a_real_study_that_is_killed_early(tmp_path: Path, sign: str) -> None:
    """While the server still imports torch, while the survey begins, and while a trial has data loader workers."""
    assert kill_once(REAL, tmp_path, sign, 0.02, longest_wait=120.0).number == 1
    assert (tmp_path / sign).exists()
