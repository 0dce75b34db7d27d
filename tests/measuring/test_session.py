"""The measured steps come first; the worst batch is trained on once afterwards, if there is reason and time."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from perftune.measuring.collective import alone
from perftune.measuring.meter import StepMeter
from perftune.measuring.session import MOST_SKIPPED, WORST_TRIES, Session
from perftune.records.candidate import Candidate
from perftune.records.trial import Purpose, StopRule, TrialRequest, WorkloadSource
from perftune.workloads.entry import DivergedError, GaveUpError
from perftune.workloads.worst_batch import WorstBatch
from tests.measuring.test_meter import FakeTime, batch
from tests.measuring.test_meter import clock as clock  # a fixture

STEP_SECONDS = 10.0


class Told:
    """What a session says, in order."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def on_step(self, num_steps: int, seconds: float) -> None:
        self.said.append((num_steps, seconds))

    def on_worst_batch(self) -> None:
        self.said.append("worst batch")


def session(
    clock: FakeTime, told: Told | None = None, worst: object = None, exact_steps: int | None = 2, **options: Any
) -> Session:
    """Its first step begins at once. With a ``worst`` micro-batch, of two in a step."""
    told = told or Told()
    request = TrialRequest(
        number=1,
        purpose=Purpose.SEARCH,
        candidate=Candidate(settings={}),
        workload=WorkloadSource(build="x.py:build", working_directory="."),
        arguments={},
        stop=StopRule(**options),
        exact_steps=exact_steps,
        requested_monotonic_seconds=clock.now,
    )
    heaviest = None if worst is None else WorstBatch(lambda: worst, num_micro_batches=2)
    return Session(
        request, StepMeter(clock), told.on_step, worst_batch=heaviest, on_worst_batch=told.on_worst_batch,
        clock=clock.perf_counter,
    )  # fmt: skip


def step(
    one: Session, clock: FakeTime, loss: float = 1.0, seconds: float = STEP_SECONDS, was_skipped: bool = False
) -> bool:
    """A step of two micro-batches of 4 tokens each; whether training stops."""
    one.meter.begin_step()
    one.meter.data_ready([batch(2, 2), batch(2, 2)])
    for _ in range(2):
        one.micro_step_begins()
        clock.now += seconds / 2
        one.meter.micro_step_ends(torch.tensor(loss))
    return one.step_ended(was_skipped=was_skipped)


def test_the_worst_batch_waits_until_the_gradient_scaler_lets_the_optimizer_have_its_state(clock: FakeTime) -> None:
    one = session(clock, worst=batch(2, 3), exact_steps=None, min_steps=1, max_steps=2)
    for _ in range(5):
        assert not step(one, clock, was_skipped=True)
        assert not one.in_worst_batch, "there is no state yet"
    assert one.num_skipped == 5
    assert not step(one, clock)
    assert one.in_worst_batch
    assert one.stopped_because == "interval"
    assert one.num_skipped == 5
    assert len(one.meter.step_seconds) == 6


def test_steps_that_are_skipped_later_are_steps_as_others(clock: FakeTime) -> None:
    one = session(clock, worst=batch(2, 3), exact_steps=None, min_steps=2)
    assert not step(one, clock)
    assert not step(one, clock, was_skipped=True)
    assert one.num_skipped == 0
    assert one.in_worst_batch


def test_a_worst_batch_that_overflows_is_trained_on_again(clock: FakeTime) -> None:
    one = session(clock, worst=batch(2, 3), exact_steps=1)
    step(one, clock)
    for _ in range(WORST_TRIES - 2):
        assert not one.step_ended(was_skipped=True)
        assert one.in_worst_batch
        assert not one.worst_batch_ran
    assert one.step_ended()
    assert one.worst_batch_ran


def test_a_worst_batch_that_always_overflows_is_not_said_to_have_run(clock: FakeTime) -> None:
    one = session(clock, worst=batch(2, 3), exact_steps=1)
    step(one, clock)
    assert [one.step_ended(was_skipped=True) for _ in range(WORST_TRIES)] == [False] * (WORST_TRIES - 1) + [True]
    assert not one.worst_batch_ran


def test_without_state_there_is_no_worst_batch_though_the_time_is_over(clock: FakeTime) -> None:
    one = session(clock, worst=batch(2, 3), exact_steps=None, max_wall_seconds=1.5 * STEP_SECONDS)
    assert step(one, clock, was_skipped=True)
    assert one.stopped_because == "max_wall_seconds"
    assert not one.in_worst_batch


def test_an_optimizer_that_is_always_left_out_trains_nothing(clock: FakeTime) -> None:
    one = session(clock, exact_steps=None)
    for _ in range(MOST_SKIPPED - 1):
        assert not step(one, clock, was_skipped=True)
    with pytest.raises(DivergedError, match=f"left out all of the first {MOST_SKIPPED} optimizer steps"):
        step(one, clock, was_skipped=True)


def test_the_worst_batch_comes_after_the_measured_steps_and_is_in_no_figure(clock: FakeTime) -> None:
    told = Told()
    one = session(clock, told, batch(2, 3))
    assert not step(one, clock)
    assert not one.in_worst_batch
    assert not step(one, clock)
    assert one.in_worst_batch
    assert not one.worst_batch_ran
    assert one.step_ended()
    assert one.worst_batch_ran
    assert told.said == [(1, STEP_SECONDS), (2, STEP_SECONDS), "worst batch"]
    assert one.meter.step_seconds == [STEP_SECONDS] * 2
    assert one.stopped_because == "exact_steps"


def test_without_a_worst_batch_training_ends_with_the_measured_steps(clock: FakeTime) -> None:
    one = session(clock)
    assert not step(one, clock)
    assert step(one, clock)
    assert not one.worst_batch_ran


def test_training_that_ends_by_itself_has_no_worst_batch(clock: FakeTime) -> None:
    one = session(clock, worst=batch(2, 3), exact_steps=1)
    one.meter.begin_step()
    assert one.step_ended(is_last=True)
    assert not one.in_worst_batch
    assert one.stopped_because == "training_ended"


def test_a_trial_that_is_given_up_does_not_come_to_the_worst_batch(clock: FakeTime) -> None:
    one = session(clock, worst=batch(2, 3), exact_steps=None, min_steps=1, give_up_step_seconds=STEP_SECONDS / 2)
    assert step(one, clock)
    assert one.stopped_because == "cannot_win"


@pytest.mark.parametrize(
    ("length", "max_wall_seconds", "runs"),
    [(2, 31.0, True), (2, 29.0, False), (4, 39.0, False), (4, 41.0, True), (1, 31.0, True), (4, None, True)],
)
def test_a_worst_batch_that_would_pass_the_bound_is_not_run(
    clock: FakeTime, length: int, max_wall_seconds: float | None, runs: bool
) -> None:
    """Two steps of 8 tokens and 10 s each; one of ``4 * length`` tokens, but no lighter than the others."""
    one = session(clock, worst=batch(2, length), max_wall_seconds=max_wall_seconds)
    assert not step(one, clock)
    assert step(one, clock) is not runs


def test_where_no_tokens_are_counted_the_worst_batch_is_taken_for_as_heavy_as_the_others() -> None:
    images = {"pixel_values": torch.zeros(2, 3)}
    assert WorstBatch(lambda: images, num_micro_batches=4).weight(0.0) == 1.0


@pytest.mark.parametrize(("max_wall_seconds", "num_steps"), [(19.0, 1), (21.0, 2), (49.0, 4), (500.0, 5)])
def test_no_step_is_begun_that_would_pass_the_bound(clock: FakeTime, max_wall_seconds: float, num_steps: int) -> None:
    one = session(clock, exact_steps=5, max_wall_seconds=max_wall_seconds)
    while not step(one, clock):
        pass
    assert len(one.meter.step_seconds) == num_steps
    assert one.stopped_because == ("exact_steps" if num_steps == 5 else "max_wall_seconds")


def test_a_first_step_that_cannot_win_ends_before_its_next_micro_batch(clock: FakeTime) -> None:
    one = session(clock, give_up_first_step_seconds=STEP_SECONDS / 4)
    with pytest.raises(GaveUpError, match=r"1 of 2 micro-batches took 5\.0 s, .* 2\.5 s") as raised:
        step(one, clock)
    assert raised.value.step_seconds == STEP_SECONDS


def test_only_the_first_step_is_held_against_the_bound_of_the_first(clock: FakeTime) -> None:
    one = session(clock, give_up_first_step_seconds=STEP_SECONDS * 2)
    assert not step(one, clock)
    assert step(one, clock, seconds=STEP_SECONDS * 10)
    assert one.stopped_because == "exact_steps"


def test_the_worst_batch_is_collated_when_it_is_wanted_and_once(clock: FakeTime) -> None:
    """A collator that draws random numbers would change what the measured steps learn."""
    calls: list[int] = []

    def collate() -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"input_ids": torch.zeros(2, 3)}

    heaviest = WorstBatch(collate, num_micro_batches=3)
    assert calls == []
    heaviest.batches(3)
    heaviest.weight(1.0)
    assert calls == [1]


def test_every_micro_batch_of_the_worst_step_has_its_own_memory(clock: FakeTime) -> None:
    worst: dict[str, Any] = {"input_ids": torch.zeros(2, 3), "name": "kept"}
    batches = session(clock, worst=worst).worst_batches(3)
    pointers = {batch["input_ids"].data_ptr() for batch in batches} | {worst["input_ids"].data_ptr()}
    assert len(pointers) == 4
    assert all(batch["name"] == "kept" for batch in batches)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_trial(clock: FakeTime, loss: float) -> None:
    with pytest.raises(DivergedError, match="optimizer step 1"):
        step(session(clock), clock, loss)


def other_process(value: float) -> Callable[[Any], Any]:
    return lambda values: [values[0] + value, *values[1:]] if len(values) == 1 else values


def test_all_processes_stop_with_the_first(clock: FakeTime) -> None:
    one = session(clock, exact_steps=5)
    one._total = other_process(1.0)
    assert step(one, clock)
    assert one.stopped_because == "interval"


def test_no_process_runs_the_worst_batch_alone(clock: FakeTime) -> None:
    one = session(clock, worst=batch(2, 2), exact_steps=1)
    one._total = other_process(1.0)
    assert step(one, clock)
    one = session(clock, worst=batch(2, 2), exact_steps=1)
    one._total = alone
    assert not step(one, clock)


@pytest.mark.parametrize("wants_worst_batch", [True, False])
def test_in_a_heat_the_turns_say_when_to_stop(clock: FakeTime, wants_worst_batch: bool) -> None:
    one = session(clock, worst=batch(2, 2), exact_steps=1)
    seen: list[int] = []

    def goes_on(seconds: list[float]) -> bool:
        seen.append(len(seconds))
        return len(seconds) < 3

    one._turns = SimpleNamespace(goes_on=goes_on, wants_worst_batch=wants_worst_batch)  # type: ignore[assignment]
    assert [step(one, clock) for _ in range(3)] == [False, False, not wants_worst_batch]
    assert seen == [1, 2, 3]
    assert one.stopped_because == "heat_ended"
