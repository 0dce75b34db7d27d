"""Data-parallel trials of two real processes learn and count what one process does at the same global batch."""

from pathlib import Path

import pytest

from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import Candidate
from perftune.records.trial import Measurement, Purpose, StopRule, TrialRequest, WorkloadSource

WORKLOADS = Path(__file__).parents[1] / "workloads" / "tiny.py"
GLOBAL_BATCH = 8


def measured(runner: ForkServerRunner, number: int, num_processes: int, micro_batch: int) -> Measurement:
    candidate = Candidate(settings={"per_device_train_batch_size": micro_batch})
    request = TrialRequest(
        number=number,
        purpose=Purpose.SEARCH,
        candidate=candidate,
        workload=WorkloadSource(build=f"{WORKLOADS}:plain", working_directory=str(WORKLOADS.parent)),
        arguments={"learning_rate": 1e-3, **candidate.training_arguments(GLOBAL_BATCH, num_processes)},
        num_processes=num_processes,
        stop=StopRule(),
        exact_steps=4,
        worst_batch=(12,),
        evaluate=True,
        save_checkpoint=True,
    )
    trial = runner.run(request)
    assert trial.failure is None, trial.failure.traceback or trial.failure.message
    assert trial.measurement is not None
    return trial.measurement


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    with ForkServerRunner(tmp_path) as runner:
        one = measured(runner, 1, num_processes=1, micro_batch=4)
        two = [measured(runner, 1 + micro_batch, num_processes=2, micro_batch=micro_batch) for micro_batch in (2, 4)]
    for measurement in two:
        assert measurement.steps.num_samples == one.steps.num_samples == (GLOBAL_BATCH,) * 4
        assert measurement.steps.num_tokens == one.steps.num_tokens
        assert measurement.steps.loss == pytest.approx(one.steps.loss, rel=1e-4)
        assert measurement.stopped_because == "exact_steps"
        assert measurement.memory.save_bytes is not None
