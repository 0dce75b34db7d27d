"""A whole answer on every kind of standard stream: closed, full, read by nobody, of another encoding, narrow."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from perftune.spec import template

SCRIPT = """
import sys
import perftune.tuning
from perftune.records.trial import Failure, Outcome, Purpose, Trial
from perftune.cli import main
from tests.studies import failed, tuned_study

NASTY = "red \\x1b[31m title \\x1b]0;owned\\x07 bell \\x07 back \\x08 turned \\u202e eight \\x9b31m and \\udc80"

def probe_study(probe, directory, *, observer, **_):
    study = tuned_study(NASTY)
    study = study.model_copy(update={"trials": (*study.trials, failed(99, study.space.base, Outcome.CRASHED, NASTY))})
    observer.on_phase(NASTY, NASTY)
    observer.on_survey(study)
    for trial in study.trials:
        observer.on_trial_end(study, trial)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "finished").touch()
    return study

perftune.tuning.probe_study = probe_study
sys.exit(main(sys.argv[1:]))
"""
ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", SCRIPT, "probe", "model.yaml"]
HARMFUL = ("\x1b[31m", "\x1b]", "\x07", "\x08", "\u202e", "\x9b")


@pytest.fixture(autouse=True)
def _probe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.yaml").write_text(template(), encoding="utf-8")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def in_terminal(command: list[str], columns: int, **more: str) -> tuple[int, str]:
    """Exit code, and all that is written to a terminal of so many columns."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = environment(TERM="xterm", **more)
    for name in ("COLUMNS", "LINES"):
        env.pop(name, None)
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=env)
    os.close(child)
    written = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while chunk := os.read(parent, 65536):
            written += chunk
    os.close(parent)
    return process.wait(), written.decode()


@pytest.mark.parametrize(
    "more", [{"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}, {}], ids=str
)
@pytest.mark.parametrize("options", [[], ["--json"]], ids=str)
def test_every_encoding_shows_the_answer_and_nothing_that_steers_a_terminal(
    more: dict[str, str], options: list[str]
) -> None:
    done = subprocess.run([*COMMAND, *options], capture_output=True, env=environment(**more))
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(more.get("PYTHONIOENCODING", "utf-8"))
    assert ("Tuned: " in text) == (not options)
    assert [character for character in text if not character.isprintable() and character != "\n"] == []


@pytest.mark.parametrize("columns", [40, 120])
def test_a_terminal_shows_the_answer_within_its_width(columns: int) -> None:
    code, text = in_terminal(COMMAND, columns)
    assert code == 0
    assert "Tuned: " in text
    assert [harmful for harmful in HARMFUL if harmful in text] == []
    summary = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text[text.rindex("Tuned: ") :])
    assert max(len(line) for line in summary.split("\r\n")) <= columns


def test_output_that_is_no_longer_read_does_not_end_what_it_tells_of(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(COMMAND, stdout=writing, stderr=subprocess.PIPE, env=environment())
    os.close(writing)
    assert done.stderr == b""
    assert [*tmp_path.glob("runs/*/finished")]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full"])
def test_without_streams_the_answer_is_written_all_the_same(tmp_path: Path, closed: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {closed}', "sh", *COMMAND], capture_output=True, text=True, env=environment()
    )
    assert [*tmp_path.glob("runs/*/finished")]
    assert "defect" not in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["probe", "no\x1b]0;x\x07.yaml"], "perftune: no.yaml: there is no such file"),
        (["probe", "a", "b\x1b[31m"], "unrecognized arguments: b. "),
        (["probe", "a", "--trials", "\x9b2J3x"], "argument --trials: 3x is not a whole number"),
    ],
)
def test_what_was_typed_is_not_said_back_raw(arguments: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "perftune", *arguments], capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert [harmful for harmful in HARMFUL if harmful in done.stderr] == []
