"""Many trials and many candidates: what a proposal takes grows gently, and nothing is built for every candidate."""

import time
import tracemalloc

import numpy as np
import pytest

from benchmarks.search.scale import proposing, widened
from benchmarks.search.synthetic import World
from perftune.records.probe import Objective
from perftune.records.trial import Outcome, Trial
from perftune.search import STRATEGIES, ModelSearch
from perftune.search.encoding import Encoding
from perftune.search.fitting import MemoryModel

SAMPLES = Objective.SAMPLES_PER_SECOND


def seconds_to_propose(world: World, trials: list[Trial]) -> float:
    begun = time.process_time()
    ModelSearch().propose(world.space, trials, SAMPLES)
    return time.process_time() - begun


def test_four_times_the_trials_take_no_more_than_a_few_times_as_long():
    """With one large matrix it was sixty times and more: its rows are five for each trial, and a search goes through
    all trials for each one that was disturbed."""
    world, trials = proposing(num_trials=200, num_candidates=400)
    ratio = min(seconds_to_propose(world, trials) / seconds_to_propose(world, trials[:50]) for _ in range(3))
    assert ratio < 16


@pytest.mark.parametrize("objective", [SAMPLES, Objective.PEAK_MEMORY])
def test_a_large_space_takes_few_bytes_for_each_candidate(objective):
    world, trials = proposing(num_trials=12, num_candidates=50_000)
    ModelSearch().propose(world.space, trials[:2], objective)
    tracemalloc.start()
    proposed = ModelSearch().propose(world.space, trials, objective)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert proposed is not None
    assert peak < 1500 * world.space.num_candidates


@pytest.mark.parametrize("name", ["model", "random", "grid"])
def test_a_proposal_in_a_large_space_is_deterministic(name):
    world, trials = proposing(num_trials=6, num_candidates=30_000)
    first, second = (STRATEGIES[name](1).propose(world.space, trials, SAMPLES) for _ in range(2))
    assert first == second


def test_where_nothing_fits_a_large_space_is_not_gone_through_one_by_one(trial):
    world, _ = proposing(num_trials=1, num_candidates=50_000)
    failed = trial(0, world.space.base, outcome=Outcome.OUT_OF_MEMORY)
    tracemalloc.start()
    proposed = ModelSearch().propose(world.space, [failed], SAMPLES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert proposed is not None
    assert proposed.micro_batch < world.space.base.micro_batch
    assert proposed.arm == world.space.base.arm
    assert peak < 1500 * world.space.num_candidates


def test_codes_are_compact_and_arms_are_what_they_were():
    world = widened(World(5), 5000)
    encoding = Encoding(world.space)
    assert encoding.codes.itemsize <= 2
    row = len(encoding) // 3
    others = [name for name in encoding.names if name != "per_device_train_batch_size"]
    assert np.array_equal(np.sort(encoding.arm(row)), np.flatnonzero(encoding.equal(row, others)))


def test_peaks_are_drawn_for_the_shortlist_alone():
    world, trials = proposing(num_trials=6, num_candidates=2000)
    encoding = Encoding(world.space)
    rows = np.array([0, 7, 1000])
    model = MemoryModel(encoding, trials)
    drawn = model.log_samples(rows, 300, np.random.default_rng(0))
    assert drawn.shape == (300, 3)
    mean, _ = model.peak_bytes()
    assert np.exp(drawn.mean(axis=0)) == pytest.approx(mean[rows], rel=0.25)
