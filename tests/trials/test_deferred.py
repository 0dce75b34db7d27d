"""bitsandbytes is not imported before a fork, and is the real one after it."""

import subprocess
import sys
from pathlib import Path

import pytest

from perftune.trials.connection import Connection

SCRIPT = """
import sys
from perftune.trials.deferred import StandIn, defer, undefer
defer()
import transformers.trainer, peft
stood_in = isinstance(sys.modules["bitsandbytes"], StandIn)
undefer()
import bitsandbytes
print(stood_in, isinstance(bitsandbytes, StandIn), bitsandbytes.optim.AdamW8bit.__name__)
"""


def test_transformers_and_peft_do_without_until_it_is_wanted() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False", "AdamW8bit"], done.stderr


def test_a_file_of_the_users_does_not_shadow_what_the_server_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the user's own json.py')")
    monkeypatch.chdir(tmp_path)
    connection = Connection((), tmp_path / "server.log")
    connection.close()
    assert (tmp_path / "server.log").read_text() == ""
