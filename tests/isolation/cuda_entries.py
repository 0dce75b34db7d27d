"""A survey of a device that comes up in a fresh interpreter and not in a fork."""

import sys
from pathlib import Path

from perftune.files import write_atomically
from perftune.records.survey import SurveyResult
from perftune.records.trial import Failure, Outcome
from tests.tuning.scripted import survey

SAID = (
    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn' method"
)


def run_survey(directory: Path) -> None:
    if "--once" in sys.argv:
        result = SurveyResult(survey=survey())
    else:
        result = SurveyResult(failure=Failure(kind=Outcome.CRASHED, message=SAID))
    write_atomically(directory / "result.json", result.model_dump_json())
