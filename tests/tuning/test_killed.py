"""perftune is killed with SIGKILL at random moments: nothing that was finished is lost or run again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perftune.records.study import Study
from perftune.tuning.study_file import load_study
from tests.tuning.light_entries import EXECUTED

pytestmark = pytest.mark.long

NUM_KILLS = 24
MIN_KILLS_AMONG_TRIALS = 5
"""So many must come after a start has run a trial of its own, or the test has killed only what was starting."""
SIGNS = (".lock", "survey/result.json", "a trial", "a trial")
"""What the moments are counted from, in turns: the first thing that perftune does, the end of the survey, and the first
trial that a start has run itself."""
ROOT = Path(__file__).parents[2]
SCRIPT = """
import functools, sys
from pathlib import Path
from tests.tuning.scripted import probe
from perftune.isolation.runner import ForkServerRunner
from perftune.records.probe import Budget
from perftune.tuning import probe_study
entries = {task: f"tests.tuning.light_entries:run_{task}" for task in ("survey", "trace", "trial", "round_trip")}
runner = functools.partial(ForkServerRunner, preload=("tests.tuning.light_entries",), entries=entries)
probe_study(probe(budget=Budget(trials=16, minutes=15)), Path(sys.argv[1]), runner=runner)
"""


def start(directory: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(directory)], env=environment)


def start_until(directory: Path, sign: str) -> subprocess.Popen[bytes]:
    """Starting Python is not what is tested: the moments are counted from a file that this start has written."""
    (directory / sign).unlink(missing_ok=True)
    num_before = len(executed(directory))
    process = start(directory)

    def has_come() -> bool:
        return len(executed(directory)) > num_before if sign == "a trial" else (directory / sign).exists()

    while process.poll() is None and not has_come():
        time.sleep(0.005)
    return process


def finished_trials(directory: Path) -> set[int]:
    return {int(path.parent.name) for path in directory.glob("trials/*/trial.json")}


def executed(directory: Path) -> list[int]:
    path = directory / EXECUTED
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def unhindered(directory: Path) -> Study:
    assert start(directory).wait() == 0
    return load_study(directory / "study.json")


def test_kills_lose_nothing_and_run_nothing_twice(tmp_path: Path) -> None:
    rng = random.Random(7)
    begin = time.monotonic()
    whole = unhindered(tmp_path / "whole")
    duration = time.monotonic() - begin
    kills, among_trials, number = 0, 0, 0
    while kills < NUM_KILLS:
        number += 1
        directory = tmp_path / f"study-{number}"
        more, more_among_trials = kill_until_done(directory, rng, duration, NUM_KILLS - kills)
        kills, among_trials = kills + more, among_trials + more_among_trials
        study = unhindered(directory)
        assert study.recommendation is not None
        assert whole.recommendation is not None
        assert study.recommendation.candidate == whole.recommendation.candidate
        assert [trial.number for trial in study.trials] == list(range(1, len(study.trials) + 1))
        assert (directory / "training_args.yaml").exists()
    assert among_trials >= MIN_KILLS_AMONG_TRIALS


def kill_until_done(directory: Path, rng: random.Random, duration: float, most: int) -> tuple[int, int]:
    """Start and kill until the study is done or so many kills are made; how many, and how many after a trial."""
    kills, among_trials = 0, 0
    while kills < most:
        finished, before = finished_trials(directory), len(executed(directory))
        process = start_until(directory, SIGNS[kills % len(SIGNS)])
        time.sleep(rng.uniform(0, duration / 3))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
            among_trials += len(executed(directory)) > before
        process.wait()
        again = finished & set(executed(directory)[before:])
        assert not again, f"finished trials were run again: {again}"
        if (directory / "study.json").exists():
            study = load_study(directory / "study.json")
            assert finished <= {trial.number for trial in study.trials} | finished_trials(directory)
            if study.recommendation is not None:
                break
    return kills, among_trials
