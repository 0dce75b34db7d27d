"""A shipped probe, from its file to the training arguments, on a real GPU."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
import yaml
from transformers import HfArgumentParser, TrainingArguments

from perftune.records.prediction_error import absolute_errors, predicted_and_measured
from perftune.tuning.study_file import load_study

PROBES = Path(__file__).parents[2] / "probes"


def test_a_shipped_probe_tunes_for_the_gpu(tmp_path: Path) -> None:
    shutil.copytree(PROBES, tmp_path / "probes")
    probe = tmp_path / "probes" / "minilm_classifier.yaml"
    declared = yaml.safe_load(probe.read_text())
    declared["target"] = {"device": "cuda", "memory": "8GiB"}
    declared["budget"] = {"trials": 10, "minutes": 5}
    probe.write_text(yaml.safe_dump(declared))

    command = [sys.executable, "-m", "perftune", "probe", str(probe)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr

    (run,) = (tmp_path / "runs").iterdir()
    study = json.loads((run / "study.json").read_text())
    completed = [trial for trial in study["trials"] if trial["outcome"] == "completed"]
    assert study["survey"]["device"]["name"] == torch.cuda.get_device_name(0)
    assert completed
    assert {trial["measurement"]["memory"]["kind"] for trial in completed} == {"allocated"}
    assert all(trial["measurement"]["memory"]["peak_bytes"] <= 8 * 2**30 for trial in completed)
    compared = predicted_and_measured(load_study(run / "study.json"))
    assert compared, "what was measured was predicted before"
    usual, most = absolute_errors([one.memory_error for one in compared])
    print(f"predicted memory: {usual:.1%} off in the median, at most {most:.1%}")
    (arguments,) = HfArgumentParser(TrainingArguments).parse_yaml_file(str(run / "training_args.yaml"))
    accumulation = arguments.gradient_accumulation_steps
    assert arguments.per_device_train_batch_size * accumulation == declared["global_batch_size"]
