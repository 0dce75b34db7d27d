"""The worst batch comes first, is trained on twice and is in no figure."""

import pytest
import torch

from perftune.measuring.meter import StepMeter
from perftune.measuring.session import Session
from perftune.records.candidate import Candidate
from perftune.records.trial import Purpose, StopRule, TrialRequest, WorkloadSource
from perftune.workloads.entry import DivergedError
from tests.measuring.test_meter import FakeTime


class Told:
    """What a session says."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, float | None]] = []
        self.worst_batch_ended_after: list[int] = []

    def on_step(self, num_steps: int, seconds: float | None) -> None:
        self.steps.append((num_steps, seconds))

    def on_worst_batch_done(self) -> None:
        self.worst_batch_ended_after.append(len(self.steps))


def session(told: Told, worst: object = None, exact_steps: int | None = 2) -> Session:
    request = TrialRequest(
        number=1,
        purpose=Purpose.SEARCH,
        candidate=Candidate(settings={}),
        workload=WorkloadSource(build="x.py:build", working_directory="."),
        arguments={},
        stop=StopRule(),
        exact_steps=exact_steps,
    )
    meter = StepMeter(FakeTime())
    return Session(request, meter, worst, told.on_step, told.on_worst_batch_done)


def test_the_worst_batch_is_trained_on_twice_so_that_the_optimizer_has_its_state() -> None:
    told = Told()
    one = session(told, {"input_ids": torch.zeros(2, 3)})
    worst_steps = 0
    while one.in_worst_batch:
        assert not one.step_ended()
        worst_steps += 1
    assert worst_steps == 2
    assert told.steps == [(0, None)] * 2
    assert told.worst_batch_ended_after == [1]
    assert one.meter.step_seconds == []
    assert not one.step_ended()
    assert one.step_ended()
    assert one.stopped_because == "exact_steps"


def test_every_micro_batch_of_the_worst_step_has_its_own_memory() -> None:
    worst = {"input_ids": torch.zeros(2, 3), "name": "kept"}
    batches = session(Told(), worst).worst_batches(3)
    pointers = {batch["input_ids"].data_ptr() for batch in batches} | {worst["input_ids"].data_ptr()}  # type: ignore[attr-defined]
    assert len(pointers) == 4
    assert all(batch["name"] == "kept" for batch in batches)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_trial(loss: float) -> None:
    one = session(Told())
    one.meter.begin_step()
    one.meter.micro_step_begins()
    one.meter.micro_step_ends(torch.tensor(loss))
    with pytest.raises(DivergedError, match="optimizer step 1"):
        one.step_ended()


def test_all_processes_stop_with_the_first() -> None:
    one = session(Told(), exact_steps=5)
    one._total = lambda values: [values[0] + 1.0]
    assert one.step_ended()
    assert one.stopped_because == "interval"
