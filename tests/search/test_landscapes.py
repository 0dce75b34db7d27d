import itertools
import math

import pytest

from benchmarks.search.compare import play, table
from benchmarks.search.landscape import (
    FEWEST_MICRO_BATCHES,
    REFERENCE_EVERY,
    Landscape,
    Truth,
    compact,
    complete,
    next_to_record,
    read,
    shrink,
    write,
)
from benchmarks.search.replay import Replay
from benchmarks.search.synthetic import World
from perftune.records.candidate import MICRO_BATCH, Knob
from perftune.records.device import Versions
from perftune.records.summary import step_interval
from perftune.records.trial import Outcome

VERSIONS = Versions(python="3.11", perftune="0.1.0", packages={})


def record(world, num_trials=None, landscape=None):
    landscape = landscape or Landscape(
        workload="made up", device=world.space.device, versions=VERSIONS, space=shrink(world.space, 48)
    )
    while (candidate := next_to_record(landscape, 2)) is not None:
        if num_trials is not None and len(landscape.trials) >= num_trials:
            break
        trial = compact(world.run(candidate, len(landscape.trials)))
        landscape = landscape.model_copy(update={"trials": (*landscape.trials, trial)})
    return landscape


def jumping_world():
    """Twice as slow for thirty trials; runs of two worlds are the same, those of one are drawn one after another."""
    return World(7, noise=0.01, outliers=0.0, drift=lambda number: 2.0 if 30 <= number < 60 else 1.0)


@pytest.fixture(scope="module")
def landscape():
    return record(jumping_world())


def test_a_landscape_survives_its_file(landscape, tmp_path):
    write(landscape, tmp_path / "x.json")
    assert read(tmp_path / "x.json") == landscape
    assert len((tmp_path / "x.json").read_text().splitlines()) == len(landscape.trials) + 2


def test_recording_goes_on_where_it_stopped():
    half = record(jumping_world(), num_trials=20)
    assert len(half.trials) == 20
    longer = record(jumping_world(), num_trials=40)
    assert half.trials == longer.trials[:20]
    assert next_to_record(half, 2) == longer.trials[20].candidate
    assert not complete(half)


def test_a_wider_space_gets_only_what_is_missing(landscape):
    world = jumping_world()
    wider = landscape.model_copy(update={"space": shrink(world.space, 96)})
    known = {trial.candidate.key for trial in landscape.trials}
    missing = {candidate.key for candidate in wider.space.candidates()} - known
    assert missing
    assert not complete(wider)
    recorded = record(world, landscape=wider)
    assert complete(recorded)
    assert recorded.trials[: len(landscape.trials)] == landscape.trials
    added = [trial.candidate.key for trial in recorded.trials[len(landscape.trials) :]]
    first = [key for key in added if key != wider.space.base.key][: len(missing)]
    assert set(first) == missing


def test_every_candidate_is_run_twice_at_least_and_the_reference_often(landscape):
    assert complete(landscape)
    keys = [trial.candidate.key for trial in landscape.trials]
    assert all(keys.count(candidate.key) >= 2 for candidate in landscape.space.candidates())
    reference = [i for i, key in enumerate(keys) if key == landscape.space.base.key]
    assert max(b - a for a, b in itertools.pairwise(reference)) <= REFERENCE_EVERY


def test_candidates_near_the_best_are_run_more_often(landscape):
    truth = Truth(landscape)
    near = [truth.num_runs(c) for c in landscape.space.candidates() if truth.regret(c) < 0.05]
    assert min(near) >= 5


def test_the_truth_is_the_worlds_without_its_drift(landscape):
    truth, world = Truth(landscape), jumping_world()
    errors = sorted(
        math.log(truth.seconds(c) / world.seconds(c))
        for c in landscape.space.candidates()
        if math.isfinite(truth.seconds(c))
    )
    assert errors[-1] - errors[0] < math.log(2.0) / 2  # two runs, one of them at the jump itself
    assert errors[3 * len(errors) // 4] - errors[len(errors) // 4] < 0.04


def test_what_does_not_fit_is_infinitely_slow(landscape):
    tight = landscape.model_copy(update={"space": landscape.space.model_copy(update={"memory_limit_bytes": 1})})
    assert Truth(tight).seconds(tight.space.base) == math.inf


def test_a_replay_gives_truth_times_noise_times_drift(landscape):
    truth = Truth(landscape)
    base = landscape.space.base
    levels = []
    for seed in range(30):
        trial = Replay(landscape, seed, truth).trial(base, 5)
        assert trial.number == 5
        levels.append(step_interval(trial.measurement).value / truth.seconds(base))
    assert sorted(levels)[8] == pytest.approx(1.0, rel=0.1)
    assert max(levels) > 1.6
    assert len(set(levels)) == 30


def test_a_replay_repeats_itself(landscape):
    base = landscape.space.base
    assert Replay(landscape, 3).trial(base, 0) == Replay(landscape, 3).trial(base, 0)


def test_a_recorded_failure_is_replayed(landscape):
    failed = [t for t in landscape.trials if t.outcome is Outcome.OUT_OF_MEMORY]
    replay = Replay(landscape, 0)
    for trial in failed[:3]:
        assert replay.trial(trial.candidate, 1).outcome is Outcome.OUT_OF_MEMORY


def test_a_candidate_that_was_not_recorded_is_refused(landscape):
    with pytest.raises(KeyError):
        Replay(landscape, 0).trial(landscape.space.base.replace(precision="int1"), 0)


def test_shrinking_keeps_the_users_own_values_and_a_curve_of_micro_batches():
    space = World(1).space
    knobs = (*space.knobs, Knob(name="extra", values=(1, 2, 3)))
    base = space.base.replace(extra=1)
    small = shrink(space.model_copy(update={"knobs": knobs, "base": base}), 100)
    assert small.num_candidates <= 100
    assert small.base in small.candidates()
    sizes = next(knob.values for knob in small.knobs if knob.name == MICRO_BATCH)
    assert len(sizes) >= min(FEWEST_MICRO_BATCHES, 5)


def test_a_space_that_is_small_enough_stays():
    space = World(1).space
    assert shrink(space, 10**6) == space


def test_the_main_search_needs_less_than_half_of_the_trials_of_tpe_here(landscape):
    truth = Truth(landscape)
    ours = [play("model", landscape, truth, seed).num_trials_to_goal for seed in range(5)]
    theirs = [play("tpe", landscape, truth, seed).num_trials_to_goal for seed in range(5)]
    assert sorted(ours)[2] * 2 <= sorted(theirs)[2]


def test_the_table_has_a_row_per_search_and_one_over_all(landscape):
    lines = table([landscape], ["random", "grid"], 2).splitlines()
    assert len(lines) == 2 + 2 + 2
    assert lines[2].startswith("| made up | ")
    assert "| all |" in lines[4]
