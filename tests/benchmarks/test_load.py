"""A load works, rests and ends, seen in the processor time of its processes."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.noise.load import LEAST_SECONDS, MOST_SECONDS, load, turns

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
POLL_SECONDS = 0.05


def cpu_ticks(pid: int) -> int | None:
    """User and system time so far; None when the process has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[11]) + int(fields[12])


def wait_for_the_end(pid: int) -> None:
    while cpu_ticks(pid) is not None:
        time.sleep(POLL_SECONDS)


def test_half_of_the_time_is_work_and_processes_come_and_go_by_themselves() -> None:
    drawn = {number: list(itertools.islice(turns(3, number), 2000)) for number in range(20)}
    firsts = [working for (working, _), *_ in drawn.values()]
    assert 0 < firsts.count(0.0) < len(firsts), "some begin with a rest"
    for both in drawn.values():
        assert all(LEAST_SECONDS <= seconds <= MOST_SECONDS for turn in both[1:] for seconds in turn)
        working, resting = (sum(seconds) for seconds in zip(*both, strict=True))
        assert working / (working + resting) == pytest.approx(0.5, abs=0.03)
    assert drawn[0] != drawn[1]
    assert drawn[0] == list(itertools.islice(turns(3, 0), 2000)) != list(itertools.islice(turns(4, 0), 2000))


def seed_of_a_short_turn() -> tuple[int, float]:
    """A seed whose first process works first, and the seconds of its work, its rest and a little work again."""
    for seed in itertools.count():
        (working, resting), *_ = itertools.islice(turns(seed, 0), 1)
        if 1 < working < 2 and 2.5 < resting < 3.5:
            return seed, working + resting + 1.0
    raise AssertionError


def test_it_works_rests_works_again_and_ends() -> None:
    seed, seconds = seed_of_a_short_turn()
    samples: list[tuple[float, int]] = []
    with load(1, seed, seconds) as (pid,):
        while (ticks := cpu_ticks(pid)) is not None:
            samples.append((time.monotonic(), ticks))
            time.sleep(POLL_SECONDS)
    # How long it stood at each number of ticks: while it works that is short, however little of a core it gets.
    stood = [
        (ticks, len(group) > 1 and group[-1][0] - group[0][0])
        for ticks, group in ((ticks, list(group)) for ticks, group in itertools.groupby(samples, lambda s: s[1]))
    ]
    longest_ticks, longest = max(stood, key=lambda pair: pair[1])
    assert longest > 2.0, "it rested"
    assert longest_ticks > 10, "it worked before"
    assert samples[-1][1] > longest_ticks, "and after it"


def test_two_processes_end_with_the_context() -> None:
    with load(2) as pids:
        assert len(set(pids)) == 2
        assert all(cpu_ticks(pid) is not None for pid in pids)
    assert [cpu_ticks(pid) for pid in pids] == [None, None]


def test_processes_end_with_a_parent_that_is_killed() -> None:
    source = (
        "import time\nfrom benchmarks.noise.load import load\n"
        "if __name__ == '__main__':\n    with load(2) as pids:\n"
        "        print(*pids, flush=True)\n        time.sleep(1000)\n"
    )
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", source], cwd=root, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for pid in pids:
        wait_for_the_end(pid)


def test_the_command_ends_after_its_time() -> None:
    command = [sys.executable, "-m", "benchmarks.noise.load", "--processes", "2", "--seconds", "1"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
