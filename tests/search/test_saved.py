"""What a prior saves is counted on landscapes with less memory: what needed more than the limit runs out of it."""

import pytest

from benchmarks.search.landscape import Landscape, Truth, complete
from benchmarks.search.saved import limit_for, searched, within, without_prior
from benchmarks.search.synthetic import World
from perftune.records.prior import Predicted, Prior
from perftune.records.trial import Outcome
from tests.search.test_landscapes import record

KNOBS = ("per_device_train_batch_size", "precision", "activation_checkpointing", "optim")


@pytest.fixture(scope="module")
def world() -> World:
    return World(4, noise=0.01, outliers=0.0)


@pytest.fixture(scope="module")
def landscape(world: World) -> Landscape:
    """With predictions that are a tenth too high."""
    found = record(world)
    predicted = {
        tuple(candidate.settings[name] for name in KNOBS): Predicted(
            settings={name: candidate.settings[name] for name in KNOBS},
            peak_memory_bytes=int(1.1 * world.peak_bytes(candidate)),
        )
        for candidate in found.space.candidates()
    }
    prior = Prior(knobs=KNOBS, predicted=tuple(predicted.values()), runs_ahead=False, has_rates=False, seconds=0.0)
    return found.model_copy(update={"space": found.space.model_copy(update={"prior": prior})})


def test_what_needs_more_than_the_limit_runs_out_of_memory(landscape: Landscape) -> None:
    limit = limit_for(landscape, 0.5)
    tight = within(landscape, limit)
    assert complete(tight)
    assert len(tight.trials) == len(landscape.trials)
    for before, after in zip(landscape.trials, tight.trials, strict=True):
        needs_more = before.measurement is None or before.measurement.memory.peak_bytes > limit
        assert (after.outcome is Outcome.OUT_OF_MEMORY) == needs_more
    fitting = sum(Truth(tight).seconds(c) < float("inf") for c in tight.space.candidates())
    assert fitting == pytest.approx(0.5 * tight.space.num_candidates, abs=3)


def test_a_prior_meets_fewer_ooms_where_memory_is_tight(landscape: Landscape) -> None:
    tight = within(landscape, limit_for(landscape, 0.4))
    truth = Truth(tight)
    ooms = [
        sum(searched(tight, truth, space, seed).num_ooms for seed in range(4))
        for space in (without_prior(tight.space), tight.space)
    ]
    assert ooms[1] < ooms[0]


def test_the_prior_is_taken_out_of_the_space_alone(landscape: Landscape) -> None:
    space = without_prior(landscape.space)
    assert space.prior is None
    assert space.knobs == landscape.space.knobs
