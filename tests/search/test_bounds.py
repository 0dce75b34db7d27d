import re

import pytest

from benchmarks.search.synthetic import World
from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH, OPTIMIZER
from perftune.records.probe import Objective
from perftune.records.summary import score
from perftune.records.trial import Outcome
from perftune.search import ModelSearch, bounds, give_up_step_seconds

SAMPLES = Objective.SAMPLES_PER_SECOND
WORTHWHILE = 0.02


def test_an_optimizer_cannot_gain_more_than_its_part_of_the_step(space, trial):
    trials = [trial(0, space.base, 1.0, optimizer_share=0.02)]
    found = next(
        b for b in bounds(space, trials, SAMPLES, WORTHWHILE) if b.candidate.settings[OPTIMIZER] == "adamw_torch_fused"
    )
    assert "the optimizer step is 2.0 % of the step" in found.reason
    assert found.bound == pytest.approx(score(trials[0], SAMPLES) / 0.98, rel=0.001)


def test_every_other_value_of_every_knob_has_a_bound_and_a_reason(space, trial):
    found = bounds(space, [trial(0, space.base)], SAMPLES, WORTHWHILE)
    assert len(found) == sum(len(knob.values) - 1 for knob in space.knobs)
    assert all(bound.reason and bound.bound > 0 for bound in found)


def test_measured_values_say_so(space, trial):
    slow = space.base.replace(**{CHECKPOINTING: True})
    # The same seconds of optimizer in a longer step: so it was the step and not the machine that was slow.
    trials = [trial(0, space.base, 1.0, optimizer_share=0.2), trial(1, slow, 1.4, optimizer_share=0.2 / 1.4)]
    found = {b.candidate.key: b for b in bounds(space, trials, SAMPLES, WORTHWHILE)}
    assert "measured" in found[slow.key].reason
    assert found[slow.key].bound < score(trials[0], SAMPLES)


def test_out_of_memory_bounds_the_larger_micro_batches(space, trial):
    trials = [trial(0, space.base), trial(1, space.base.replace(**{MICRO_BATCH: 8}), outcome=Outcome.OUT_OF_MEMORY)]
    found = {b.candidate.key: b for b in bounds(space, trials, SAMPLES, WORTHWHILE)}
    for size in (8, 16):
        bound = found[space.base.replace(**{MICRO_BATCH: size}).key]
        assert bound.bound == 0
        assert "out of memory" in bound.reason


def test_a_predicted_peak_is_stated(space, trial):
    tight = space.model_copy(update={"memory_limit_bytes": 2**30 + 2**27})
    trials = [
        trial(0, tight.base, peak_bytes=2**30),
        trial(1, tight.base.replace(**{MICRO_BATCH: 1}), peak_bytes=2**29 + 2**27),
    ]
    found = {b.candidate.key: b for b in bounds(tight, trials, SAMPLES, WORTHWHILE)}
    assert "predicted peak" in found[tight.base.replace(**{MICRO_BATCH: 16}).key].reason


def test_no_bounds_before_anything_has_completed(space, trial):
    assert bounds(space, [], SAMPLES, WORTHWHILE) == []
    assert bounds(space, [trial(0, space.base, outcome=Outcome.CRASHED)], SAMPLES, WORTHWHILE) == []


def test_a_trial_may_give_up_when_it_is_far_slower_than_the_best(space, trial):
    best = trial(0, space.base, 2.0)
    limit = give_up_step_seconds(best, SAMPLES)
    assert limit is not None
    assert limit > 2.0
    assert give_up_step_seconds(None, SAMPLES) is None
    assert give_up_step_seconds(best, Objective.PEAK_MEMORY) is None


INTERVAL = re.compile(r"by ([+-][\d.]+) % \(([+-][\d.]+) to ([+-][\d.]+) %\)")


@pytest.mark.parametrize("seed", range(6))
def test_no_reason_speaks_for_what_was_not_chosen(seed):
    """After few trials much may still be better: then it is said that there was no time, and not that it lost."""
    world = World(seed, noise=0.1)
    trials = [world.run(world.space.base, 0)]
    while len(trials) < 4:
        trials.append(world.run(ModelSearch(seed).propose(world.space, trials, SAMPLES), len(trials)))
    found = [b for b in bounds(world.space, trials, SAMPLES, WORTHWHILE) if INTERVAL.search(b.reason)]
    assert found
    for bound in found:
        centre, best, worst = (float(number) for number in INTERVAL.search(bound.reason).groups())
        assert best <= centre <= worst
        if best < -100 * WORTHWHILE:
            assert any(said in bound.reason for said in ("not tried", "not told apart", "is unlikely")), bound.reason


def test_what_may_be_better_was_not_tried_for_want_of_time_and_what_cannot_is_not_excused(space, trial):
    trials = [trial(0, space.base)]
    half = next(b for b in bounds(space, trials, SAMPLES, WORTHWHILE) if b.candidate.settings["precision"] == "bf16")
    assert half.reason.startswith("precision=bf16: not tried, the search ended before")
    assert half.bound > score(trials[0], SAMPLES) * (1 + WORTHWHILE)
    patient = bounds(space, trials, SAMPLES, worthwhile=50.0)
    assert not any("not tried" in bound.reason for bound in patient)


def test_a_part_of_the_step_is_no_reason_where_it_is_worth_having(space, trial):
    """All of a large optimizer step could be saved."""
    trials = [trial(0, space.base, optimizer_share=0.3)]
    fused = next(
        b for b in bounds(space, trials, SAMPLES, WORTHWHILE) if b.candidate.settings[OPTIMIZER] != "adamw_torch"
    )
    assert "cannot gain more" not in fused.reason
    assert fused.bound <= score(trials[0], SAMPLES) / 0.7 * 1.001


@pytest.mark.parametrize(("seconds", "change"), [(1.5, 50.0), (2.0, 100.0)])
def test_a_measured_change_is_what_was_measured(space, trial, seconds, change):
    slow = space.base.replace(**{CHECKPOINTING: True})
    trials = [trial(0, space.base), *(trial(i, slow, seconds, optimizer_share=0.2 / seconds) for i in range(1, 4))]
    bound = next(b for b in bounds(space, trials, SAMPLES, WORTHWHILE) if b.candidate == slow)
    assert float(INTERVAL.search(bound.reason).group(1)) == pytest.approx(change, rel=0.2)
