"""Heats of the tiny workloads, each contender a real Trainer in processes of its own, and what tests ask of them."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from perftune.isolation.heat import TurnPlan
from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import Candidate
from perftune.records.heat import Round
from perftune.records.trial import Measurement, Purpose, Trial, TrialRequest, WorkloadSource

WORKLOADS = Path(__file__).parents[1] / "workloads" / "tiny.py"
GLOBAL_BATCH = 8
PLAN = TurnPlan(warmup_steps=2, slice_seconds=0.05, max_rounds=3, max_steps=200)


def contender(number: int, workload: str = "plain", micro_batch: int = 4, **options: Any) -> TrialRequest:
    candidate = Candidate(settings={"per_device_train_batch_size": micro_batch})
    arguments = candidate.training_arguments(GLOBAL_BATCH, options.get("num_processes", 1))
    return TrialRequest(
        number=number,
        purpose=Purpose.RACE,
        candidate=candidate,
        workload=WorkloadSource(build=f"{WORKLOADS}:{workload}", working_directory=str(WORKLOADS.parent)),
        arguments={"learning_rate": 1e-3, **arguments, **options.pop("arguments", {})},
        **{"deadline_seconds": 300.0, **options},
    )


class Watcher:
    """Lets all contenders go on, and keeps what it was shown."""

    def __init__(self, then: Callable[[Sequence[Round]], Collection[int] | None] = lambda _: None) -> None:
        self.rounds: list[Round] = []
        self._then = then

    def __call__(self, rounds: Sequence[Round]) -> Collection[int]:
        self.rounds = list(rounds)
        stay = self._then(rounds)
        return list(rounds[-1]) if stay is None else stay


def heat(
    runner: ForkServerRunner, requests: Sequence[TrialRequest], watcher: Watcher | None = None, **plan: Any
) -> list[Trial]:
    return runner.run_in_turns(requests, PLAN._replace(**plan), watcher or Watcher())


def measured(trial: Trial) -> Measurement:
    assert trial.failure is None, trial.failure.traceback or trial.failure.message
    assert trial.measurement is not None
    return trial.measurement
