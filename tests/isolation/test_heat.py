"""Contenders that live side by side: the same data in every round, an order that changes, and what each has used."""

import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from perftune.isolation.heat import in_order
from perftune.isolation.runner import ForkServerRunner
from perftune.records.heat import rounds_of
from perftune.records.trial import Outcome
from tests.isolation.heats import GLOBAL_BATCH, PLAN, Watcher, contender, heat, measured

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServerRunner]:
    with ForkServerRunner(tmp_path_factory.mktemp("run")) as runner:
        yield runner


def test_all_train_the_same_steps_on_the_same_data(runner: ForkServerRunner) -> None:
    watcher = Watcher()
    trials = heat(runner, [contender(1), contender(2, micro_batch=8), contender(3)], watcher)
    one, other, same = map(measured, trials)
    assert one.steps.loss == same.steps.loss, "equal contenders learn the same, step by step"
    assert other.steps.loss == pytest.approx(one.steps.loss, rel=1e-4)
    assert one.steps.num_samples == other.steps.num_samples == (GLOBAL_BATCH,) * len(one.steps)
    assert one.steps.num_tokens == other.steps.num_tokens
    assert len(watcher.rounds) == PLAN.max_rounds
    assert {m.stopped_because for m in (one, other, same)} == {"heat_ended"}
    assert [trial.heat for trial in trials] == [1, 1, 1]
    for turns in watcher.rounds:
        assert len({(turn.slice.first_step, turn.slice.num_steps) for turn in turns.values()}) == 1
        assert all(len(turn.step_seconds) == turn.slice.num_steps for turn in turns.values())


def test_the_rounds_are_in_the_trials_and_every_step_but_the_warm_up_is_in_one(runner: ForkServerRunner) -> None:
    watcher = Watcher()
    trials = heat(runner, [contender(1), contender(2)], watcher)
    assert rounds_of(trials) == watcher.rounds
    for measurement in map(measured, trials):
        assert measurement.num_warmup_steps == PLAN.warmup_steps
        steps = [s for part in measurement.slices for s in range(part.first_step, part.first_step + part.num_steps)]
        assert steps == list(range(PLAN.warmup_steps, len(measurement.steps)))
        for part in measurement.slices:
            assert part.run_queue_seconds is not None
            assert part.run_queue_seconds >= 0
            assert part.num_threads >= 1


def test_the_order_changes_from_round_to_round(runner: ForkServerRunner) -> None:
    watcher = Watcher()
    heat(runner, [contender(1), contender(2)], watcher, max_rounds=4)
    begun = [{number: turn.slice.begun_monotonic_seconds for number, turn in turns.items()} for turns in watcher.rounds]
    assert [sorted(times, key=times.__getitem__) for times in begun] == [[1, 2], [2, 1], [2, 1], [1, 2]]
    for earlier, later in pairwise(begun):
        assert max(earlier.values()) < min(later.values())


@pytest.mark.parametrize("num_contenders", range(2, 9))
def test_everybody_is_as_often_in_every_place(num_contenders: int) -> None:
    contenders = list(range(num_contenders))
    orders = [in_order(contenders, number) for number in range(2 * num_contenders)]
    assert all(sorted(order) == contenders for order in orders)
    for place in range(num_contenders):
        assert set(Counter(order[place] for order in orders).values()) == {2}
    before = Counter((a, b) for order in orders for i, a in enumerate(order) for b in order[i + 1 :])
    assert set(before.values()) == {num_contenders}, "and as often before each other as behind"


def test_a_turn_of_the_middle_contender_takes_about_as_long_as_was_planned(runner: ForkServerRunner) -> None:
    short, long = Watcher(), Watcher()
    heat(runner, [contender(1), contender(2)], short, slice_seconds=1e-6)
    heat(runner, [contender(1), contender(2)], long, slice_seconds=0.5)
    assert {turn.slice.num_steps for turns in short.rounds for turn in turns.values()} == {1}
    ratios = [sum(turn.step_seconds) / 0.5 for turns in long.rounds for turn in turns.values()]
    assert 0.1 < sorted(ratios)[len(ratios) // 2] < 10
    assert max(turn.slice.num_steps for turns in long.rounds for turn in turns.values()) > 1


def test_no_more_steps_are_asked_for_than_the_schedule_has(runner: ForkServerRunner) -> None:
    trials = heat(runner, [contender(1), contender(2)], slice_seconds=0.2, max_rounds=50, max_steps=9)
    assert [len(measured(trial).steps) for trial in trials] == [9, 9]


def test_what_each_has_used_adds_up_to_the_heat(runner: ForkServerRunner) -> None:
    begun = time.monotonic()
    trials = heat(runner, [contender(1), contender(2)], Watcher(lambda _: time.sleep(0.3)))
    elapsed = time.monotonic() - begun
    assert sum(trial.wall_seconds for trial in trials) == pytest.approx(elapsed, rel=0.1)


def test_the_one_that_is_left_out_ends_and_the_others_go_on(runner: ForkServerRunner) -> None:
    watcher = Watcher(lambda rounds: {1, 3} if len(rounds) >= 2 else {1, 2, 3})
    requests = [contender(number, worst_batch=(12, 25)) for number in (1, 2, 3)]
    measurements = list(map(measured, heat(runner, requests, watcher, max_rounds=4)))
    assert [len(measurement.slices) for measurement in measurements] == [4, 2, 4]
    assert [measurement.worst_batch_ran for measurement in measurements] == [True, False, True]
    assert [set(turns) for turns in watcher.rounds] == [{1, 2, 3}, {1, 2, 3}, {1, 3}, {1, 3}]


@pytest.mark.parametrize("stay", [(), (2,)])
def test_a_heat_that_is_decided_is_over_for_all(runner: ForkServerRunner, stay: tuple[int, ...]) -> None:
    requests = [contender(1, worst_batch=(12,), evaluate=True), contender(2, worst_batch=(12,), save_checkpoint=True)]
    one, two = map(measured, heat(runner, requests, Watcher(lambda _: stay)))
    assert len(one.slices) == len(two.slices) == 1
    assert one.worst_batch_ran
    assert two.worst_batch_ran
    assert one.evaluation is not None
    assert two.memory.save_bytes is not None


def test_all_processes_of_a_trial_stop_at_the_same_step(runner: ForkServerRunner) -> None:
    requests = [contender(1, micro_batch=2, num_processes=2, worst_batch=(12,)), contender(2, worst_batch=(12,))]
    both, alone = heat(runner, requests)
    assert measured(both).steps.loss == pytest.approx(measured(alone).steps.loss, rel=1e-4)
    assert [part.num_steps for part in measured(both).slices] == [part.num_steps for part in measured(alone).slices]
    assert measured(both).worst_batch_ran
    assert all(part.num_threads >= 2 for part in measured(both).slices), "of both processes"


def test_contenders_may_be_fresh_interpreters(tmp_path: Path) -> None:
    with ForkServerRunner(tmp_path, start_method="spawn") as spawning:
        one, two = map(measured, heat(spawning, [contender(1), contender(2)]))
    assert one.steps.loss == two.steps.loss
    assert len(one.slices) == len(two.slices) == PLAN.max_rounds


def test_nothing_of_the_heat_remains_in_the_folders(runner: ForkServerRunner) -> None:
    trials = heat(runner, [contender(1), contender(2)])
    for number in (1, 2):
        names = {path.name for path in runner.trial_directory(number).iterdir()}
        assert names == {"request.json", "result.json", "heartbeat.json", "log.txt", "trial.json"}
        assert runner.adopt(number) == trials[number - 1]
    assert runner.run(contender(3, exact_steps=2)).outcome is Outcome.COMPLETED, "and trials may follow"
