"""What is not imported before a fork is the real one after it."""

import subprocess
import sys
from pathlib import Path

import pytest

from perftune.isolation.connection import Connection

SCRIPT = """
import sys
from perftune.isolation.deferred import StandIn, defer, undefer
defer()
import transformers.trainer, peft
stood_in = isinstance(sys.modules["bitsandbytes"], StandIn)
undefer()
import bitsandbytes
print(stood_in, isinstance(bitsandbytes, StandIn), bitsandbytes.optim.AdamW8bit.__name__)
"""

FUNCTION = """
import sys
from perftune.isolation.deferred import FUNCTIONS, StandIn, defer, undefer
defer(FUNCTIONS)
import transformers.trainer
from transformers.loss import loss_for_object_detection as held
do_without = not {"scipy.linalg", "torchao"} & sys.modules.keys()
chosen = held.linear_sum_assignment([[4, 1], [2, 9]])[1].tolist()
undefer()
import scipy.optimize, torchao.prototype.safetensors.safetensors_support as support
reals = not any(isinstance(sys.modules[name], StandIn) for name in FUNCTIONS)
print(do_without, chosen, reals, support.flatten_tensor_state_dict.__module__ == support.__name__)
"""


def test_a_function_that_transformers_holds_calls_the_real_one() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FUNCTION], capture_output=True, text=True)
    assert done.stdout.split("\n")[0] == "True [1, 0] True True", done.stderr


def test_a_module_is_found_without_its_package_and_one_that_is_missing_is_left_to_fail() -> None:
    script = (
        "import sys; from perftune.isolation.deferred import defer;"
        "defer(['xml.dom.minidom', 'xml.dom.nowhere', 'nowhere.at_all']);"
        "print(sorted(name for name in sys.modules if name.startswith(('xml', 'nowhere'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "['xml.dom.minidom']", done.stderr


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
