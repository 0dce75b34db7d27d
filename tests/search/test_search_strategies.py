import pytest

from benchmarks.search.synthetic import World
from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH, Candidate, Knob, Space
from perftune.records.probe import Objective
from perftune.records.trial import Outcome
from perftune.search import STRATEGIES, ModelSearch, leader
from perftune.search.model import MOST_EARLY_OOMS

pytestmark = pytest.mark.long

SAMPLES = Objective.SAMPLES_PER_SECOND


def play(strategy, world, num_trials):
    trials = []
    for number in range(num_trials):
        candidate = strategy.propose(world.space, trials, SAMPLES)
        if candidate is None:
            break
        trials.append(world.run(candidate, number))
    return trials


@pytest.fixture(scope="module")
def plays():
    """The main search on made-up worlds: without outliers, so that a fixed budget has a fixed chance."""
    worlds = [World(seed, outliers=0.0) for seed in range(24)]
    return [(world, play(ModelSearch(), world, 12)) for world in worlds]


def test_the_search_finds_the_best_of_made_up_worlds_in_twelve_trials(plays):
    regrets = sorted(
        world.seconds(leader(world.space, trials, SAMPLES)) / world.best_seconds() - 1 for world, trials in plays
    )
    assert len(regrets) >= 20
    assert regrets[len(regrets) // 2] <= 0.02
    assert regrets[-1] <= 0.05


def test_the_search_beats_random_search_by_far(plays):
    for world, trials in plays[:6]:
        best = min(world.seconds(trial.candidate) for trial in trials)
        randoms = [min(world.seconds(t.candidate) for t in play(STRATEGIES["random"](s), world, 12)) for s in range(5)]
        assert best <= sorted(randoms)[2] * 1.02


@pytest.fixture(scope="module")
def tight_plays():
    """Worlds where not much more than the user's own micro-batch fits."""
    plays = []
    for seed in range(8):
        world = World(seed, outliers=0.0)
        limit = int(1.04 * world.peak_bytes(world.space.base) / (1 - world.space.headroom))
        world.space = world.space.model_copy(update={"memory_limit_bytes": limit})
        plays.append((world, play(ModelSearch(), world, 12)))
    return plays


def test_every_proposal_lies_in_the_space_and_is_not_above_a_known_oom(plays, tight_plays):
    """In half precision a CPU needs more for small micro-batches, which have more lengths to compile kernels for."""
    for world, trials in [*plays, *tight_plays]:
        candidates = {candidate.key for candidate in world.space.candidates()}
        for i, trial in enumerate(trials):
            assert trial.candidate.key in candidates
            for before in trials[:i]:
                if before.outcome is Outcome.OUT_OF_MEMORY and before.candidate.settings["precision"] == "fp32":
                    same_arm = before.candidate.arm == trial.candidate.arm
                    assert not (same_arm and trial.candidate.micro_batch >= before.candidate.micro_batch)


def test_where_memory_is_tight_some_trials_run_out_and_the_answer_fits(tight_plays):
    assert any(trial.outcome is Outcome.OUT_OF_MEMORY for _, trials in tight_plays for trial in trials)
    regrets = []
    for world, trials in tight_plays:
        best = leader(world.space, trials, SAMPLES)
        assert world.peak_bytes(best) <= 1.01 * world.space.usable_memory_bytes
        regrets.append(world.seconds(best) / world.best_seconds() - 1)
    assert sorted(regrets)[4] <= 0.02


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_start_with_the_base_repeat_themselves_and_stay_in_the_space(name):
    world = World(3)
    trials = play(STRATEGIES[name](5), world, 8)
    assert trials[0].candidate == world.space.base
    keys = {candidate.key for candidate in world.space.candidates()}
    assert {trial.candidate.key for trial in trials} <= keys
    for length in range(len(trials)):
        assert STRATEGIES[name](5).propose(world.space, trials[:length], SAMPLES) == trials[length].candidate


@pytest.mark.parametrize("name", ["tpe", "random", "grid"])
def test_the_searches_without_a_model_try_every_candidate_once(name, space, trial):
    small = space.model_copy(update={"knobs": (*space.knobs[:1], *(_held(knob) for knob in space.knobs[1:]))})
    trials = []
    while (candidate := STRATEGIES[name](0).propose(small, trials, SAMPLES)) is not None:
        trials.append(trial(len(trials), candidate, 1.0 + candidate.micro_batch))
    assert sorted(t.candidate.micro_batch for t in trials) == [1, 2, 4, 8, 16]


def _held(knob):
    return Knob(name=knob.name, values=knob.values[:1])


def test_seeds_give_different_random_orders(space):
    base = [STRATEGIES["random"](seed) for seed in range(6)]
    first = [strategy.propose(space, [], SAMPLES) for strategy in base]
    assert {candidate.key for candidate in first} == {space.base.key}


def test_seeds_in_a_row_do_not_draw_the_same_a_trial_apart():
    world = World(3)
    first, second = (play(STRATEGIES["tpe"](seed), world, 8) for seed in (0, 1))
    assert sum(a.candidate == b.candidate for a, b in zip(first[2:], second[1:], strict=False)) <= 2


def test_random_orders_differ_by_seed(space, trial):
    known = [trial(0, space.base)]
    second = {STRATEGIES["random"](seed).propose(space, known, SAMPLES).key for seed in range(6)}
    assert len(second) > 1


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_space_of_one_is_done_after_one_trial(name, space, trial):
    single = space.model_copy(update={"knobs": tuple(_held(knob) for knob in space.knobs)})
    strategy = STRATEGIES[name](0)
    assert strategy.propose(single, [], SAMPLES) == single.base
    assert strategy.propose(single, [trial(0, single.base)], SAMPLES) is None


def test_all_out_of_memory_ends_soon_and_descends(space, trial):
    trials = []
    while (candidate := ModelSearch().propose(space, trials, SAMPLES)) is not None:
        assert candidate.key not in {t.candidate.key for t in trials}
        trials.append(trial(len(trials), candidate, outcome=Outcome.OUT_OF_MEMORY))
    assert len(trials) <= MOST_EARLY_OOMS
    assert trials[1].candidate.micro_batch < space.base.micro_batch
    assert trials[1].candidate.arm == space.base.arm
    assert any(t.candidate.settings[CHECKPOINTING] and t.candidate.micro_batch == 1 for t in trials)


def test_when_the_base_does_not_fit_a_smaller_one_is_found_and_the_search_goes_on(space, trial):
    trials = []
    for number in range(12):
        candidate = ModelSearch().propose(space, trials, SAMPLES)
        if candidate is None:
            break
        too_big = candidate.micro_batch * (1 if candidate.settings[CHECKPOINTING] else 2) > 4
        seconds = 1.0 + 1.0 / candidate.micro_batch
        if too_big:
            trials.append(trial(number, candidate, outcome=Outcome.OUT_OF_MEMORY))
        else:
            trials.append(trial(number, candidate, seconds, peak_bytes=int(1e9 + 4e8 * candidate.micro_batch)))
    assert trials[0].outcome is Outcome.OUT_OF_MEMORY
    best = leader(space, trials, SAMPLES)
    assert best is not None
    assert best.micro_batch == 4
    assert best.settings[CHECKPOINTING] is True


def test_a_setting_that_crashes_is_left_alone(space, trial):
    trials = []
    for number in range(14):
        candidate = ModelSearch().propose(space, trials, SAMPLES)
        if candidate is None:
            break
        if candidate.settings["optim"] == "adamw_torch_fused":
            trials.append(trial(number, candidate, outcome=Outcome.CRASHED))
        else:
            trials.append(trial(number, candidate, 1.0))
    assert sum(t.outcome is Outcome.CRASHED for t in trials) <= 6
    assert leader(space, trials, SAMPLES).settings["optim"] == "adamw_torch"


def test_a_candidate_over_the_headroom_is_never_the_leader(space, trial):
    big = space.base.replace(**{MICRO_BATCH: 16})
    trials = [trial(0, space.base, 2.0), trial(1, big, 1.0, peak_bytes=int(3.9 * 2**30))]
    assert leader(space, trials, SAMPLES) == space.base
    proposal = ModelSearch().propose(space, trials, SAMPLES)
    assert proposal is not None
    assert not (proposal.arm == big.arm and proposal.micro_batch >= 16)


def test_what_fitted_once_and_once_did_not_is_no_answer_unless_there_is_no_other(space, trial):
    big = space.base.replace(**{MICRO_BATCH: 16})
    twice = [trial(0, big, 1.0, peak_bytes=3 * 2**30), trial(1, big, 1.0, peak_bytes=int(3.9 * 2**30))]
    assert leader(space, twice, SAMPLES) == big
    assert leader(space, [*twice, trial(2, space.base, 2.0)], SAMPLES) == space.base


def test_peak_memory_as_objective_prefers_small_and_checkpointed(space, trial):
    trials = []
    for number in range(10):
        candidate = ModelSearch().propose(space, trials, Objective.PEAK_MEMORY)
        if candidate is None:
            break
        slope = 0.2 if candidate.settings[CHECKPOINTING] else 1.0
        trials.append(trial(number, candidate, peak_bytes=int(2**30 * (0.7 + 0.1 * slope * candidate.micro_batch))))
    best = leader(space, trials, Objective.PEAK_MEMORY)
    assert best.micro_batch == 1
    assert best.settings[CHECKPOINTING] is True


def test_a_machine_four_times_slower_from_the_middle_on_does_not_mislead_the_search():
    regrets = []
    for seed in range(8):
        world = World(seed, outliers=0.0, noise=0.02, drift=lambda number: 4.0 if number >= 6 else 1.0)
        trials = play(ModelSearch(), world, 14)
        regrets.append(world.seconds(leader(world.space, trials, SAMPLES)) / world.best_seconds() - 1)
    assert sorted(regrets)[4] <= 0.02
    assert max(regrets) <= 0.1


def test_a_disturbed_trial_does_not_mislead_the_search():
    regrets = []
    for seed in range(8):
        world = World(seed, outliers=0.0, noise=0.02, drift=lambda number: 2.5 if number == 4 else 1.0)
        trials = play(ModelSearch(), world, 14)
        regrets.append(world.seconds(leader(world.space, trials, SAMPLES)) / world.best_seconds() - 1)
    assert sorted(regrets)[4] <= 0.02
    assert max(regrets) <= 0.1


def test_the_reference_is_run_again_when_nothing_was_repeated_for_long():
    world = World(2, noise=0.05)
    trials = play(ModelSearch(worthwhile=0.0, chance=0.0), world, 18)
    keys = [trial.candidate.key for trial in trials]
    assert len(set(keys)) < len(keys)
    assert keys.count(world.space.base.key) >= 2


def test_a_huge_space_is_searched_without_building_it(trial):
    flags = [f"flag_{i}" for i in range(11)]
    knobs = (
        Knob(name=MICRO_BATCH, values=(4, 1, 2, 8, 16, 32, 64)),
        *(Knob(name=name, values=(False, True)) for name in flags),
    )
    space = Space(
        knobs=knobs,
        base=Candidate(settings={knob.name: knob.values[0] for knob in knobs}),
        global_batch_size=64,
        memory_limit_bytes=2**33,
        headroom=0.1,
    )
    second = ModelSearch().propose(space, [trial(0, space.base)], SAMPLES)
    assert second is not None
    assert second != space.base


def test_a_base_that_runs_but_leaves_no_headroom_is_followed_by_something_smaller(space, trial):
    trials = [trial(0, space.base, peak_bytes=int(3.9 * 2**30))]
    second = ModelSearch().propose(space, trials, SAMPLES)
    assert second.micro_batch < space.base.micro_batch or second.settings[CHECKPOINTING]
    trials.append(trial(1, second, peak_bytes=2**30))
    assert leader(space, trials, SAMPLES) == second
