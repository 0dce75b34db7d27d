"""What this CPU computes: a rate for each precision, of its fastest pass."""

import itertools

import pytest
import torch

from perftune.surveying import rates


def test_each_precision_has_a_rate_and_the_fastest_pass_counts() -> None:
    ticks = itertools.accumulate(itertools.chain([0.0, 0.0], [0.05, 0.01] * 1000))
    found = rates.flops_per_second(clock=lambda: next(ticks))
    assert found.keys() == {"fp32", "bf16"}
    assert found["fp32"] == pytest.approx(torch.get_num_threads() * rates.FLOPS / 0.01)


def test_one_thread_is_measured_and_the_others_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr(rates, "_pass", lambda *_: seen.append(torch.get_num_threads()))
    rates.flops_per_second(clock=itertools.count().__next__)
    assert set(seen) == {1}
    assert torch.get_num_threads() == before


def test_a_pass_is_a_forward_and_a_backward_in_the_precision() -> None:
    layer, inputs = torch.nn.Linear(8, 8), torch.randn(8, 8, requires_grad=True)
    seen = []
    layer.register_forward_hook(lambda _, __, outputs: seen.append(outputs.dtype))
    rates._pass(layer, inputs, torch.bfloat16)
    rates._pass(layer, inputs, None)
    assert seen == [torch.bfloat16, torch.float32]
    assert layer.weight.grad is not None
    assert inputs.grad is not None
