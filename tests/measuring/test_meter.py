"""The times of a step on a clock that moves only when told."""

from collections.abc import Sequence

import pytest
import torch

from perftune.measuring import meter as meter_module
from perftune.measuring.meter import StepMeter


class FakeTime:
    """Both clocks of the meter: the host's and the device's."""

    def __init__(self) -> None:
        self.now = 100.0
        self.synchronized: list[float] = []

    def perf_counter(self) -> float:
        return self.now

    def synchronize(self) -> None:
        self.synchronized.append(self.now)

    def mark(self) -> float:
        return self.now

    def seconds_between(self, start: float, end: float) -> float:
        return end - start


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(meter_module.time, "perf_counter", fake.perf_counter)
    return fake


def batch(num_samples: int, length: int, num_padding: int = 0) -> dict[str, torch.Tensor]:
    mask = torch.ones(num_samples, length, dtype=torch.long)
    if num_padding:
        mask[0, -num_padding:] = 0
    return {"input_ids": torch.zeros(num_samples, length, dtype=torch.long), "attention_mask": mask}


def micro_step(meter: StepMeter, clock: FakeTime, loss: float, num_backwards: int = 1) -> None:
    """Forward takes 2 s, each backward 3 s, and 0.5 s pass after the last."""
    meter.micro_step_begins()
    value = torch.tensor(loss, requires_grad=True)
    clock.now += 2.0
    for _ in range(num_backwards):
        value.register_hook(lambda _: setattr(clock, "now", clock.now + 3.0))
        (value * 1.0).backward()
        value = torch.tensor(loss, requires_grad=True)
    clock.now += 0.5
    meter.micro_step_ends(torch.tensor(loss))


def test_the_parts_of_a_step_of_two_micro_batches(clock: FakeTime) -> None:
    meter = StepMeter(clock)
    with meter.observe_backward():
        meter.begin_step()
        clock.now += 1.0
        meter.data_ready([batch(4, 10, 3), batch(4, 8)])
        for loss in (0.5, 0.25):
            micro_step(meter, clock, loss)
        clock.now += 4.0
        assert meter.end_step(torch.tensor(2.0)) == 0.75
    steps = meter.steps()
    assert steps.data_seconds == (1.0,)
    assert steps.forward_seconds == (2 * 2.5,)
    assert steps.backward_seconds == (2 * 3.0,)
    assert steps.optimizer_seconds == (4.0,)
    assert steps.step_seconds == (1.0 + 2 * 2.5 + 2 * 3.0 + 4.0,)
    assert steps.num_samples == (8,)
    assert steps.num_padded_tokens == (72,)
    assert steps.num_tokens == (69,)
    assert steps.loss == (0.75,)
    assert steps.grad_norm == (2.0,)


def test_the_device_has_finished_before_a_step_is_closed(clock: FakeTime) -> None:
    meter = StepMeter(clock)
    meter.begin_step()
    clock.now += 7.0
    meter.end_step(None)
    assert clock.synchronized == [107.0]
    assert meter.steps().grad_norm == (None,)


def test_a_step_begins_anew_and_the_time_between_steps_belongs_to_none(clock: FakeTime) -> None:
    meter = StepMeter(clock)
    for _ in range(2):
        meter.begin_step()
        clock.now += 2.0
        meter.end_step(None)
        clock.now += 50.0
    assert meter.step_seconds == [2.0, 2.0]


def test_every_backward_of_a_custom_training_step_is_seen(clock: FakeTime) -> None:
    meter = StepMeter(clock)
    with meter.observe_backward():
        meter.begin_step()
        micro_step(meter, clock, 1.0, num_backwards=2)
        meter.end_step(None)
    assert meter.steps().backward_seconds == (6.0,)
    assert meter.steps().forward_seconds == (2.5,)


def test_backward_outside_a_step_is_not_counted_and_torch_is_left_as_it_was(clock: FakeTime) -> None:
    original = torch.autograd.backward
    meter = StepMeter(clock)
    with meter.observe_backward():
        torch.tensor(1.0, requires_grad=True).backward()
        meter.begin_step()
        meter.end_step(None)
    assert torch.autograd.backward is original
    assert meter.steps().backward_seconds == (0.0,)


def test_samples_tokens_and_loss_are_those_of_all_processes(clock: FakeTime) -> None:
    of_the_other = (1.5, 2, 3, 10)

    def total(values: Sequence[float]) -> Sequence[float]:
        return [a + b for a, b in zip(values, of_the_other, strict=True)]

    meter = StepMeter(clock, num_processes=2, total=total)
    meter.begin_step()
    meter.data_ready([batch(2, 5, 1)])
    meter.micro_step_begins()
    meter.micro_step_ends(torch.tensor(1.0))
    assert meter.end_step(None) == 2.0
    steps = meter.steps()
    assert (steps.num_samples, steps.num_tokens, steps.num_padded_tokens) == ((4,), (12,), (20,))
    assert steps.loss == (2.0,)
