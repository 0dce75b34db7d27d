"""Tasks that answer from made-up physics in a process of their own, and leave a line for each trial that they ran."""

import json
import os
from pathlib import Path

import yaml

from perftune.files import write_atomically
from perftune.records.survey import SurveyResult
from perftune.records.trace import TraceResult
from perftune.records.trial import Failure, Outcome, TrialRequest, TrialResult
from tests.tuning.scripted import ScriptedRunner, survey

EXECUTED = "executed.log"


def run_survey(directory: Path) -> None:
    write_atomically(directory / "result.json", SurveyResult(survey=survey()).model_dump_json())


def run_trial(directory: Path) -> None:
    request = TrialRequest.model_validate_json((directory / "request.json").read_text())
    trial = ScriptedRunner().run(request)
    line = os.open(directory.parents[1] / EXECUTED, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(line, f"{request.number}\n".encode())
    os.close(line)
    result = TrialResult(measurement=trial.measurement, failure=trial.failure)
    write_atomically(directory / "result.json", result.model_dump_json())


def run_trace(directory: Path) -> None:
    failure = Failure(kind=Outcome.UNSUPPORTED, message="made-up physics cannot be traced")
    write_atomically(directory / "result.json", TraceResult(failure=failure).model_dump_json())


def run_round_trip(directory: Path) -> None:
    arguments = yaml.safe_load((directory / "arguments.yaml").read_text())
    write_atomically(directory / "result.json", json.dumps({"arguments": arguments}))
