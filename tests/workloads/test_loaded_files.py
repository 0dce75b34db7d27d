"""Which files a workload was built from, and whether they are the same the next time."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from perftune.errors import StudyMismatchError
from perftune.isolation.runner import ForkServerRunner
from perftune.records.survey import SurveyRequest
from perftune.records.trial import WorkloadSource
from perftune.tuning.directory import differences, refuse_if_different
from perftune.workloads.loaded_files import CHUNK_BYTES, LoadedFiles
from tests.tuning.made import empty_study

NOTHING: Any = SimpleNamespace(train_dataset=None, eval_dataset=None, model=None)


def loaded(run_folder: Path, load: Any, workload: Any = None, trainer: Any = NOTHING) -> dict[str, str]:
    with LoadedFiles(run_folder, workload) as files:
        load()
    return {os.path.relpath(name, run_folder.parent): digest for name, digest in files.digests(trainer).items()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("perftune.workloads.loaded_files._modules", list)
    for name in ("data.txt", ".env", "runs/1/study.json", "cache.bin", "other.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("what was there before")
    np.save(tmp_path / "ids.npy", np.arange(9))
    return tmp_path


def test_what_is_read_counts_and_what_is_written_hidden_or_perftunes_does_not(folder: Path) -> None:
    def load() -> None:
        Path("data.txt").read_text()
        np.load("ids.npy")
        os.close(os.open(b"other.txt", os.O_RDONLY))
        Path(".env").read_text()
        Path("runs/study.json").parent.joinpath("1/study.json").read_text()
        Path("cache.bin").write_text("new")
        Path("cache.bin").read_text()
        Path("made.txt").write_text("just now")
        Path(os.devnull).read_text()

    assert loaded(folder / "runs", load).keys() == {"data.txt", "ids.npy", "other.txt"}


def test_what_is_read_before_and_after_does_not_count(folder: Path) -> None:
    Path("data.txt").read_text()
    with LoadedFiles(folder / "runs") as files:
        pass
    Path("other.txt").read_text()
    assert files.digests(NOTHING) == {}


def test_what_others_tell_counts_too(folder: Path) -> None:
    """What a data set of the datasets library, a model from a folder, and a declaration say of themselves."""
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").write_text("weights")
    data = SimpleNamespace(cache_files=[{"filename": "cache.bin"}])
    model = SimpleNamespace(config=SimpleNamespace(_name_or_path="model"))
    trainer = SimpleNamespace(train_dataset=data, eval_dataset={"a": None}, model=model)
    declared = {"model": "no/such", "data": {"path": "ids.npy"}}
    found = loaded(folder / "runs", lambda: None, declared, trainer)
    assert found.keys() == {"cache.bin", "ids.npy", "model/model.safetensors"}


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 70 * CHUNK_BYTES + 5])
def test_a_digest_changes_with_size_beginning_and_end(folder: Path, size: int) -> None:
    digests = []
    for text in (b"a" * size, b"a" * (size + 1), b"b" + b"a" * size, b"a" * size + b"b"):
        (folder / "data.txt").write_bytes(text)
        os.utime(folder / "data.txt", (0, 0))
        digests.append(loaded(folder / "runs", lambda: Path("data.txt").read_bytes())["data.txt"])
    assert len({*digests}) == 4 if size else 3


BUILD = """
import json
from datasets import load_dataset
from transformers import Trainer
import shapes

def build(args):
    rows = [json.loads(line) for line in open("train.jsonl")]
    held_out = load_dataset("csv", data_files="held_out.csv", split="train", cache_dir="{cache}")
    return Trainer(shapes.model(), args, train_dataset=rows, eval_dataset=held_out, data_collator=shapes.pad)
"""
SHAPES = "from tests.workloads.tiny import causal_model as model, pad\n"


@pytest.mark.long
def test_a_survey_sees_that_a_module_or_data_have_changed(tmp_path: Path) -> None:
    here = tmp_path / "user"
    here.mkdir()
    files = {
        "train.py": BUILD.format(cache=tmp_path / ".cache"),
        "shapes.py": SHAPES,
        "train.jsonl": '{"input_ids": [3, 4], "labels": [3, 4], "attention_mask": [1, 1]}\n' * 16,
        "held_out.csv": "input_ids\n3\n4\n",
    }
    for name, text in files.items():
        (here / name).write_text(text)
    request = SurveyRequest(
        workload=WorkloadSource(build=f"{here}/train.py:build", working_directory=str(here)),
        arguments={"learning_rate": 1e-3}, global_batch_size=8, device="cpu",
    )  # fmt: skip
    with ForkServerRunner(tmp_path / "run") as runner:
        before, again = runner.survey(request), runner.survey(request)
        assert {Path(name).name for name in before.files if name.startswith(str(here))} == files.keys()
        assert str(here / "held_out.csv") not in again.files, "the cache is read now"
        for name in ("shapes.py", "held_out.csv"):
            with (here / name).open("a") as file:
                file.write("#\n")
        after = runner.survey(request)
    study = empty_study()
    study = study.model_copy(update={"survey": before, "probe_sha256": study.probe.sha256})
    assert differences(study, study.probe, study.strategy, again) == []
    changed = differences(study, study.probe, study.strategy, after)
    names = [here / "held_out.csv", here / "shapes.py", "the csv data of eval_dataset"]
    assert changed == [f"{name} (its content has changed)" for name in names]
    with pytest.raises(StudyMismatchError, match=r"held_out\.csv \(its content has changed\); .*--force"):
        refuse_if_different(changed, tmp_path)
