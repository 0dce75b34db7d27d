"""Raw steps to rates, by hand."""

import pytest

from perftune.records.candidate import Candidate
from perftune.records.probe import Objective
from perftune.records.summary import (
    samples_per_second,
    score,
    steady,
    step_speedup,
    summarize,
    tokens_per_second,
)
from perftune.records.trial import Measurement, MemoryPeak, Outcome, Steps
from tests.search.conftest import make_trial

CANDIDATE = Candidate(settings={"per_device_train_batch_size": 8})


def measured(seconds: list[float], samples: list[int] | None = None, tokens: int = 0, warmup: int = 0) -> Measurement:
    count = len(seconds)
    zeros = (0.0,) * count
    steps = Steps(
        step_seconds=tuple(seconds),
        data_seconds=zeros,
        forward_seconds=zeros,
        backward_seconds=zeros,
        optimizer_seconds=zeros,
        num_samples=tuple(samples or [16] * count),
        num_tokens=(tokens,) * count,
        num_padded_tokens=(2 * tokens,) * count,
        loss=zeros,
        grad_norm=(None,) * count,
    )
    memory = MemoryPeak(kind="resident", peak_bytes=1000, start_bytes=0, train_bytes=1000)
    return Measurement(
        steps=steps,
        num_warmup_steps=warmup,
        memory=memory,
        start_seconds=0.0,
        build_seconds=0.0,
        stopped_because="max_steps",
    )


def test_warmup_and_the_short_batch_at_the_end_of_an_epoch_are_no_steady_steps() -> None:
    measurement = measured([9.0, 2.0, 2.0, 0.5, 2.0], samples=[16, 16, 16, 3, 16], warmup=1)
    assert steady(measurement).step_seconds == (2.0, 2.0, 2.0)
    assert samples_per_second(measurement) == 8.0


def test_tokens_leave_padding_out() -> None:
    assert tokens_per_second(measured([2.0, 2.0], tokens=100)) == 50.0
    assert tokens_per_second(measured([2.0, 2.0])) is None


def test_speedup_compares_the_same_step_so_that_lengths_cancel() -> None:
    reference = measured([1.0, 4.0, 2.0, 8.0])
    fast = measured([0.5, 2.0, 1.0])
    assert step_speedup(fast, reference) == 2.0
    assert samples_per_second(fast) / samples_per_second(reference) != 2.0


def test_scores_grow_with_what_is_wanted() -> None:
    trial = make_trial(1, CANDIDATE, seconds=2.0, peak_bytes=500)
    assert score(trial, Objective.SAMPLES_PER_SECOND) == 8.0
    assert score(trial, Objective.COST) == 8.0
    assert score(trial, Objective.TOKENS_PER_SECOND) == 800.0
    assert score(trial, Objective.PEAK_MEMORY) == 1 / 500


def test_a_failed_trial_has_no_score() -> None:
    with pytest.raises(ValueError, match="out_of_memory"):
        score(make_trial(1, CANDIDATE, outcome=Outcome.OUT_OF_MEMORY), Objective.COST)


def test_summary_takes_medians_and_the_largest_peak() -> None:
    trials = [
        make_trial(n, CANDIDATE, seconds=s, peak_bytes=p) for n, s, p in [(1, 1.0, 10), (2, 2.0, 30), (3, 4.0, 20)]
    ]
    found = summarize(trials, price_per_hour=3600.0)
    assert found.samples_per_second == 8.0
    assert found.step_seconds == 2.0
    assert found.peak_memory_bytes == 30
    assert found.cost_per_million_samples == pytest.approx(125_000.0)


def test_every_device_is_paid_for() -> None:
    trials = [make_trial(1, CANDIDATE, seconds=2.0)]
    one, four = (summarize(trials, price_per_hour=3600.0, num_devices=num) for num in (1, 4))
    assert one.cost_per_million_samples is not None
    assert four.cost_per_million_samples == pytest.approx(4 * one.cost_per_million_samples)
    assert four.samples_per_second == one.samples_per_second
