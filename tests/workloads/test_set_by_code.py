"""A knob that the user's code decides by itself is held with that reason, and a trial of another value is none."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

from perftune.devices.cpu import CpuTrainingDevice
from perftune.records.candidate import CHECKPOINTING, COMPILE, MICRO_BATCH
from perftune.records.survey import Survey, SurveyRequest
from perftune.records.trial import Outcome, WorkloadSource
from perftune.surveying.survey import survey
from perftune.workloads.entry import describe_failure
from perftune.workloads.set_by_code import NotReachedError, asked_for, refuse_what_did_not_reach, set_by_code
from tests.workloads import tiny


@pytest.fixture
def args(tmp_path: Path) -> TrainingArguments:
    return TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])


def test_what_hands_its_arguments_on_decides_nothing(args: TrainingArguments) -> None:
    trainer, asked = tiny.plain(args), asked_for(args)
    assert set_by_code(trainer, asked) == {}
    refuse_what_did_not_reach(trainer, asked, (MICRO_BATCH, CHECKPOINTING, COMPILE, "dataloader_pin_memory"))


def test_an_argument_that_is_dropped_is_refused_where_the_candidate_sets_it(args: TrainingArguments) -> None:
    asked = asked_for(args)
    args.dataloader_pin_memory = not args.dataloader_pin_memory
    trainer = tiny.plain(args)
    assert "hand `args` on as they are" in set_by_code(trainer, asked)["dataloader_pin_memory"]
    refuse_what_did_not_reach(trainer, asked, (MICRO_BATCH, CHECKPOINTING))
    with pytest.raises(NotReachedError, match=r"dataloader_pin_memory: build\(args\) was given") as raised:
        refuse_what_did_not_reach(trainer, asked, (MICRO_BATCH, "dataloader_pin_memory"))
    assert describe_failure(raised.value, CpuTrainingDevice()).kind is Outcome.UNSUPPORTED


def test_checkpointing_that_the_code_switches_on_is_seen(args: TrainingArguments) -> None:
    trainer: Any = tiny.plain(args)
    trainer.model.activation_checkpointing_enable()
    assert "the code switches it on in the model" in set_by_code(trainer, asked_for(args))[CHECKPOINTING]
    args.gradient_checkpointing = args.activation_checkpointing = True
    assert CHECKPOINTING not in set_by_code(trainer, asked_for(args))


@pytest.mark.parametrize("in_place", [True, False])
def test_a_model_that_the_code_compiles_is_seen(args: TrainingArguments, in_place: bool) -> None:
    model: Any = torch.nn.Linear(2, 1)
    if in_place:
        model.compile(backend="eager")
    trainer = Trainer(model=model if in_place else torch.compile(model, backend="eager"), args=args)
    assert "the code compiles the model by itself" in set_by_code(trainer, asked_for(args))[COMPILE]


def surveyed(folder: Path, name: str, **knobs: Any) -> Survey:
    source = WorkloadSource(build=f"{tiny.__file__}:{name}", working_directory=str(folder))
    request = SurveyRequest(
        workload=source, arguments={}, global_batch_size=8, device="cpu", weightless=True, knobs=knobs
    )
    return survey(request, folder)


def test_the_survey_holds_the_knob_at_the_users_own(tmp_path: Path) -> None:
    found = surveyed(tmp_path, "checkpointing_in_code")
    assert found.supported[CHECKPOINTING] == (False,)
    assert "the code switches it on" in found.unsupported[CHECKPOINTING]["other than False"]
    assert surveyed(tmp_path, "plain").supported[CHECKPOINTING] == (False, True)


def test_values_that_the_user_names_are_asked_about_too(tmp_path: Path) -> None:
    found = surveyed(tmp_path, "plain", dataloader_num_workers=(3,), dataloader_prefetch_factor=(7,))
    assert 3 in found.supported["dataloader_num_workers"]
    assert 7 in found.supported["dataloader_prefetch_factor"]
