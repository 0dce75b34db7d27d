"""perftune is killed with SIGKILL at random moments: nothing stays alive, gets lost, or is run again once finished.

``python -m tests.tuning.killing --kills 100`` does so by command, on made-up physics in real processes; ``--real`` on a
Trainer with data loader workers, its survey, its traces and its heats. The suite does the same a few times.
"""

import argparse
import functools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from perftune.records.study import Study
from perftune.tuning.study_file import load_study
from tests.isolation.light_runner import eventually, is_alive
from tests.tuning.light_entries import EXECUTED

ROOT = Path(__file__).parents[2]
MARK = "PERFTUNE_TEST_MARK"
"""Every process below a start has it in its environment, wherever it has gone."""
GONE_SECONDS = 20.0
"""A process that was just being started may take so long to see that its parent has gone, on a busy machine."""
LIGHT = """
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
REAL = """
import sys
from pathlib import Path
from perftune.records.probe import Budget, ProbeSpec, Target
from perftune.tuning import probe_study
root = Path(sys.argv[2])
probe = ProbeSpec(
    name="killed", source_path=str(root / "tests/workloads/killed.yaml"), build=f"{root}/tests/workloads/tiny.py:plain",
    global_batch_size=8, training_arguments={"dataloader_num_workers": 2, "learning_rate": 1e-3},
    knobs={"precision": ("fp32",), "optim": ("adamw_torch",), "dataloader_num_workers": (2,)},
    target=Target(device="cpu", memory_bytes=2 * 2**30), budget=Budget(trials=16, minutes=2),
)
probe_study(probe, Path(sys.argv[1]))
"""
SIGNS = {
    LIGHT: (".lock", "survey/result.json", "a trial", "a trial"),
    REAL: ("survey/log.txt", "trials/0001/request.json", "traces/0001/request.json", "a trial", "a trial"),
}
"""What the moments are counted from, in turns; what a start does not come to again, it is killed without."""
LONGEST_WAIT = 15.0
"""Seconds that a sign is waited for: not every start traces, or runs a trial of its own."""


class Kills(NamedTuple):
    """How often it was killed, and how often after this start had run a trial of its own."""

    number: int = 0
    among_trials: int = 0


def start(script: str, directory: Path, mark: str = "") -> subprocess.Popen[bytes]:
    """Run or go on with the study in a folder."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **threads, MARK: mark}
    return subprocess.Popen([sys.executable, "-c", script, str(directory), str(ROOT)], env=environment)


def survivors(mark: str) -> list[int]:
    """Processes that live and have the mark, in whatever group, session, or under whatever parent."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            has_mark = f"{MARK}={mark}".encode() in path.read_bytes().split(b"\0")
        except OSError:
            continue
        pid = int(path.parent.name)
        if has_mark and is_alive(pid):
            found.append(pid)
    return found


def finished(directory: Path) -> dict[int, int]:
    """Number of every finished trial -> when it was asked for, in nanoseconds."""
    folders = [path.parent for path in directory.glob("trials/*/trial.json")]
    return {int(folder.name): (folder / "request.json").stat().st_mtime_ns for folder in folders}


def num_begun(script: str, directory: Path, since_ns: int) -> int:
    """Trials that were begun, by a real study since then; by a light one ever."""
    if script == REAL:
        return sum(path.stat().st_mtime_ns >= since_ns for path in directory.glob("trials/*/request.json"))
    path = directory / EXECUTED
    return len(path.read_text().splitlines()) if path.exists() else 0


def kill_once(
    script: str, directory: Path, sign: str, wait_seconds: float, longest_wait: float = LONGEST_WAIT
) -> Kills:
    """Start, kill after a while, and check what is left of it.

    Starting Python is not what is tested: the moment is counted from a file that this start has written.
    """
    before, mark, began = finished(directory), uuid.uuid4().hex, time.time_ns()
    num_before = num_begun(script, directory, began)

    def has_begun() -> bool:
        return num_begun(script, directory, began) > num_before

    def has_come() -> bool:
        path = directory / sign
        return has_begun() if sign == "a trial" else path.exists() and path.stat().st_mtime_ns >= began

    (directory / ".lock").unlink(missing_ok=True)
    process = start(script, directory, mark)
    eventually(lambda: process.poll() is not None or has_come(), longest_wait)
    time.sleep(wait_seconds)
    killed = process.poll() is None
    process.kill()
    assert process.wait() in (0, -signal.SIGKILL)
    _check(directory, mark, before)
    return Kills(int(killed), int(killed and has_begun()))


def _check(directory: Path, mark: str, before: dict[int, int]) -> None:
    assert eventually(lambda: not survivors(mark), GONE_SECONDS), f"left behind: {survivors(mark)}"
    now = finished(directory)
    again = [number for number, asked in before.items() if now.get(number) != asked]
    assert not again, f"finished trials were run again, or lost: {again}"
    if (directory / "study.json").exists():
        assert before.keys() <= {trial.number for trial in load_study(directory / "study.json").trials} | now.keys()


def is_finished(directory: Path) -> bool:
    """Whether the study has its answer."""
    path = directory / "study.json"
    return path.exists() and load_study(path).is_finished


def unhindered(script: str, directory: Path) -> Study:
    """To its end."""
    assert start(script, directory).wait() == 0
    study = load_study(directory / "study.json")
    assert study.recommendation is not None
    assert (directory / "training_args.yaml").exists()
    assert [trial.number for trial in study.trials] == list(range(1, len(study.trials) + 1))
    return study


def kill(
    script: str,
    directory: Path,
    num_kills: int,
    longest_seconds: float,
    seed: int = 7,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Kills, list[Study]]:
    """Kill so many times, study after study, and let each go on to its end.

    Args:
        script: `LIGHT` or `REAL`.
        directory: of the studies.
        num_kills: in all.
        longest_seconds: after the sign.
        seed: of the moments.
        say: is told how far it is.
    """
    rng, kills, studies = random.Random(seed), Kills(), list[Study]()
    while kills.number < num_kills:
        study = directory / f"study-{len(studies) + 1}"
        study.mkdir()
        while kills.number < num_kills and not is_finished(study):
            sign = SIGNS[script][kills.number % len(SIGNS[script])]
            more = kill_once(script, study, sign, rng.uniform(0, longest_seconds))
            kills = Kills(*map(sum, zip(kills, more, strict=True)))
            say(f"{kills.number} kills, {kills.among_trials} of them among trials, in study {len(studies) + 1}")
        studies.append(unhindered(script, study))
    return kills, studies


def main() -> None:
    """By command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--real", action="store_true", help="A real Trainer, survey, traces and heats.")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    script, longest = (REAL, 10.0) if options.real else (LIGHT, 0.6)
    with tempfile.TemporaryDirectory() as folder:
        say = functools.partial(print, flush=True)
        kills, studies = kill(script, Path(folder), options.kills, longest, options.seed, say)
    print(f"{kills.number} kills over {len(studies)} studies: nothing left behind, nothing lost, nothing run twice")


if __name__ == "__main__":
    main()
