"""The user's file to a Trainer, and the ways in which a build function loses the arguments that it was given."""

from pathlib import Path

import pytest
from transformers import TrainingArguments

from perftune.errors import ArgumentsChangedError, WorkloadError
from perftune.records.trial import WorkloadSource
from perftune.surveying.survey import half_weights
from perftune.workloads.loading import build_trainer

FILE = """
import dataclasses
import torch
from transformers import Trainer, TrainingArguments

def build(args):
    {line}
    return Trainer(model=torch.nn.Linear(2, 1){dtype}, args=args)
"""


def source(folder: Path, line: str, dtype: str = "") -> WorkloadSource:
    path = folder / "workload.py"
    path.write_text(FILE.format(line=line, dtype=dtype), encoding="utf-8")
    return WorkloadSource(build=f"{path}:build", working_directory=str(folder))


def arguments(folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=2,
        report_to=[],
    )


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ("args.per_device_train_batch_size = 4", "per_device_train_batch_size is 4 and not 16"),
        ("args.gradient_accumulation_steps = 1", "gradient_accumulation_steps is 1 and not 2"),
        ("args.optim = 'sgd'", "optim is 'sgd' and not"),
        ("args.bf16 = True", "bf16 is True and not False"),
        ("args = dataclasses.replace(args, per_device_train_batch_size=4)", "per_device_train_batch_size is 4 and not"),
        ("args = TrainingArguments(args.output_dir, use_cpu=True, report_to=[])", "per_device_train_batch_size is 8"),
        ("args.auto_find_batch_size = True", "auto_find_batch_size is True and not False"),
    ],
)
def test_a_workload_that_trains_with_other_arguments_is_refused(tmp_path: Path, line: str, lost: str) -> None:
    with pytest.raises(
        ArgumentsChangedError, match=f"does not use the arguments that build.* was given: {lost}"
    ) as told:
        build_trainer(source(tmp_path, line), arguments(tmp_path))
    assert isinstance(told.value, WorkloadError)
    assert told.value.exit_code == 3


def test_what_a_workload_sets_beside_them_is_its_own(tmp_path: Path) -> None:
    trainer = build_trainer(source(tmp_path, "args.remove_unused_columns = False"), arguments(tmp_path))
    assert trainer.args.per_device_train_batch_size == 16
    assert half_weights(trainer) == ()


@pytest.mark.parametrize(("dtype", "number"), [("float16", True), ("bfloat16", False)])
def test_weights_in_half_precision_are_called_what_they_are(tmp_path: Path, dtype: str, number: bool) -> None:
    trainer = build_trainer(source(tmp_path, "pass", f".to(torch.{dtype})"), arguments(tmp_path))
    (note,) = half_weights(trainer)
    assert note.startswith(f"the weights that train are in {dtype}: small updates are lost in it")
    assert ("not a number" in note) is number
    assert "dtype=torch.float32" in note


def test_frozen_weights_in_half_precision_are_fine(tmp_path: Path) -> None:
    trainer = build_trainer(source(tmp_path, "pass", ".to(torch.float16).requires_grad_(False)"), arguments(tmp_path))
    assert half_weights(trainer) == ()
