"""The product as a user types it: `init`, `probe`, the same command again, and training with what was written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import HfArgumentParser, TrainingArguments

from perftune.tuning.study_file import load_study

pytestmark = pytest.mark.long

PROBE = [sys.executable, "-m", "perftune", "probe", "model.yaml", "--trials", "6", "--minutes", "1"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": ""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `perftune init` was run."""
    folder = tmp_path_factory.mktemp("user")
    done = subprocess.run(
        [sys.executable, "-m", "perftune", "init"], cwd=folder, capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    assert "perftune probe model.yaml" in done.stdout
    return folder


@pytest.fixture(scope="module")
def interrupted(folder: Path) -> str:
    """What perftune said when it was stopped by Ctrl-C after its first trial."""
    process = subprocess.Popen(
        PROBE, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    study = folder / "runs" / "model-1" / "study.json"
    while process.poll() is None and not (study.exists() and load_study(study).trials):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    return said


@pytest.fixture(scope="module")
def finished(folder: Path, interrupted: str) -> tuple[str, Path]:
    """What the same command said the second time, and the folder of the run."""
    before = {trial.number for trial in load_study(folder / "runs" / "model-1" / "study.json").trials}
    done = subprocess.run(PROBE, cwd=folder, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    run = folder / "runs" / "model-1"
    assert before <= {trial.number for trial in load_study(run / "study.json").trials}
    return done.stdout, run


def test_ctrl_c_says_where_the_measurements_are_and_leaves_no_process(interrupted: str) -> None:
    assert "the same command goes on" in interrupted
    assert "Traceback" not in interrupted


def test_the_same_command_goes_on(finished: tuple[str, Path]) -> None:
    said, run = finished
    assert "Going on with runs/model-1" in said
    assert {path.name for path in run.iterdir()} >= {"training_args.yaml", "training_args.json", "study.json", "trials"}
    assert "samples/s" in said


def test_the_answer_was_run_and_holds_the_global_batch(finished: tuple[str, Path]) -> None:
    study = load_study(finished[1] / "study.json")
    answer = study.recommendation
    assert answer is not None
    assert any(trial.candidate == answer.candidate and trial.measurement for trial in study.trials)
    assert answer.arguments["per_device_train_batch_size"] * answer.arguments["gradient_accumulation_steps"] == 32


def test_the_written_arguments_load(finished: tuple[str, Path]) -> None:
    (from_yaml,) = HfArgumentParser(TrainingArguments).parse_yaml_file(str(finished[1] / "training_args.yaml"))
    (from_json,) = HfArgumentParser(TrainingArguments).parse_json_file(str(finished[1] / "training_args.json"))
    assert from_yaml.gradient_accumulation_steps == from_json.gradient_accumulation_steps
    assert from_yaml.learning_rate == from_json.learning_rate
    assert from_yaml.device == torch.device("cpu")


def test_probing_leaves_nothing_but_its_own_folder(folder: Path, finished: tuple[str, Path]) -> None:
    assert {path.name for path in folder.iterdir()} == {"model.yaml", "runs"}
    leftovers = [path for path in finished[1].rglob("*") if "checkpoint" in path.name or path.suffix == ".safetensors"]
    assert leftovers == []


def test_json_for_machines_of_a_finished_study(folder: Path, finished: tuple[str, Path]) -> None:
    command = [*PROBE, "--out", "runs/model-1", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recommendation"]["decision"] in {"tuned", "keep_yours", "not_decided"}
