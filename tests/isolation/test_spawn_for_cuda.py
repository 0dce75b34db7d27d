"""Where CUDA does not come up in a fork, trials are spawned."""

from pathlib import Path

import pytest

from perftune.isolation.runner import ForkServerRunner
from perftune.records.survey import SurveyRequest
from perftune.records.trial import WorkloadSource
from tests.isolation.light_runner import ROOT


def test_a_survey_that_cuda_refuses_in_a_fork_is_spawned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    request = SurveyRequest(
        workload=WorkloadSource(working_directory="."), arguments={}, global_batch_size=8, device="cuda"
    )
    entries = {"survey": "tests.isolation.cuda_entries:run_survey"}
    with ForkServerRunner(tmp_path, preload=(), entries=entries) as runner:
        assert runner.survey(request).device.name == "Test CPU"
        assert runner._spawns
