"""Cases are surveyed and tried in processes of their own, forked from one server that has imported what they need."""

from pathlib import Path
from typing import Any

from perftune.isolation.protocol import PRELOAD
from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import Candidate
from perftune.records.survey import Survey, SurveyRequest
from perftune.records.trial import Measurement, Purpose, Trial, TrialRequest, WorkloadSource

WORKLOADS = Path(__file__).parent / "workloads"
GLOBAL_BATCH, STEPS = 8, 2
MICRO_BATCH = "per_device_train_batch_size"
ARGUMENTS: dict[str, Any] = {"learning_rate": 1e-3, "max_steps": 50, "logging_steps": 1}


class Cases:
    """Runs surveys and trials of the workloads that lie beside."""

    def __init__(self, runner: ForkServerRunner, folder: Path) -> None:
        self.runner, self.folder, self.number = runner, folder, 0

    def source(self, build: str) -> WorkloadSource:
        return WorkloadSource(build=f"{WORKLOADS}/{build}", working_directory=str(self.folder))

    def survey(self, build: str, **arguments: Any) -> Survey:
        return self.runner.survey(
            SurveyRequest(
                workload=self.source(build),
                arguments={**ARGUMENTS, **arguments},
                global_batch_size=GLOBAL_BATCH,
                device="cpu",
            )
        )

    def trial(self, build: str, micro_batch: int, arguments: dict[str, Any] | None = None, **changes: Any) -> Trial:
        self.number += 1
        candidate = Candidate(settings={MICRO_BATCH: micro_batch, **changes.pop("settings", {})})
        return self.runner.run(
            TrialRequest(
                number=self.number,
                purpose=Purpose.SEARCH,
                candidate=candidate,
                workload=self.source(build),
                arguments={**ARGUMENTS, **(arguments or {}), **candidate.training_arguments(GLOBAL_BATCH)},
                **{"exact_steps": STEPS, **changes},
            )
        )

    def measured(self, build: str, micro_batch: int, **changes: Any) -> Measurement:
        trial = self.trial(build, micro_batch, **changes)
        assert trial.failure is None, trial.failure.traceback
        assert trial.measurement is not None
        return trial.measurement


def server(folder: Path) -> ForkServerRunner:
    return ForkServerRunner(folder, preload=(*PRELOAD, "tests.cases.preloaded"))
