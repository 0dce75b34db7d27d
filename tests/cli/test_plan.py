"""``perftune plan`` as a user types it: GPUs by name, one message and an exit code, JSON for machines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

PROBE = """
config:
  model_type: bert
  vocab_size: 300
  hidden_size: 32
  intermediate_size: 64
  num_hidden_layers: 1
  num_attention_heads: 2
task: sequence-classification
data: {synthetic: {num_samples: 32, mean_length: 16, max_length: 32}}
global_batch_size: 8
knobs: {precision: [fp32], activation_checkpointing: [false], optim: [adamw_torch], attn_implementation: [sdpa]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.yaml").write_text(PROBE)
    return tmp_path


def typed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perftune", "plan", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["model.yaml", "--gpu", "h1000"], 4, "There is no GPU 'h1000'"),
        (["model.yaml", "--gpu", "a100"], 4, "could be"),
        (["none.yaml", "--gpu", "t4"], 2, "there is no such file"),
        (["model.yaml"], 2, "--gpu"),
        (["model.yaml", "--gpu", "t4", "--sharding", "fsdp"], 2, "--count"),
        (["model.yaml", "--gpu", "t4", "--count", "3"], 2, "8 samples cannot be shared equally by 3 GPUs"),
        (["model.yaml", "--gpu", "t4", "--price", "none.yaml"], 4, "none.yaml"),
    ],
)
def test_what_is_wrong_is_said_in_one_message(folder: Path, arguments: list[str], exit_code: int, said: str) -> None:
    done = typed(folder, *arguments)
    assert done.returncode == exit_code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_json_holds_the_whole_plan_and_nothing_is_left_behind(folder: Path) -> None:
    (folder / "prices.yaml").write_text("t4: 0.35\n")
    done = typed(folder, "model.yaml", "--gpu", "t4", "--price", "prices.yaml", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [e["candidate"]["settings"]["per_device_train_batch_size"] for e in plan["estimates"]] == [8, 1, 2, 4]
    assert all(e["fits"] and e["cost_per_million_samples"] > 0 for e in plan["estimates"])
    assert sorted(path.name for path in folder.iterdir()) == ["model.yaml", "prices.yaml"]


def test_the_table_says_what_it_is(folder: Path) -> None:
    done = typed(folder, "model.yaml", "--gpu", "l4", "--gpu", "t4")
    assert done.returncode == 0, done.stderr
    assert "tracing fp32" in done.stderr
    assert "Nothing was measured" in done.stdout
    assert "l4-24gb" in done.stdout
    assert "t4-16gb" in done.stdout
