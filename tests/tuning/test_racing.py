"""Who races, for how long a heat, and when the race is over."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from perftune.errors import NoCandidateError
from perftune.isolation.heat import GoesOn
from perftune.records.candidate import MICRO_BATCH, PRECISION, Candidate
from perftune.records.heat import TurnTaken
from perftune.records.probe import Budget
from perftune.records.study import Study
from perftune.records.trial import Outcome, Purpose, Slice, Trial
from perftune.search import ModelSearch
from perftune.tuning import SilentObserver, racing
from perftune.tuning.costs import heat_seconds
from perftune.tuning.loop import Loop
from perftune.tuning.racing import (
    field_of_race,
    race,
    reference,
    run_heat,
    seconds_before_checks,
    verdict,
)
from perftune.tuning.spending import Spending
from tests.tuning.made import empty_study, failed, heat, searched, with_trials
from tests.tuning.scripted import FakeClock, Physics, ScriptedRunner

STUDY = empty_study()
BASE = STUDY.space.base
LARGE = BASE.replace(**{MICRO_BATCH: 32})
BF16 = BASE.replace(**{PRECISION: "bf16"})
BOTH = LARGE.replace(**{PRECISION: "bf16"})


def loop_of(
    study: Study,
    tmp_path: Path,
    minutes: float = 15,
    trials: int = 100,
    clock: FakeClock | None = None,
    physics: Physics | None = None,
) -> Loop:
    clock = clock or FakeClock()
    runner = ScriptedRunner(physics or Physics(), clock=clock)
    spending = Spending(Budget(trials=trials, minutes=minutes), clock=clock)
    probe = study.probe.model_copy(update={"budget": spending.budget})
    study = study.model_copy(update={"probe": probe})
    return Loop(study, tmp_path, runner, ModelSearch(), SilentObserver(), spending)


def raced(study: Study) -> list[Sequence[str]]:
    """Who ran in each heat."""
    numbers = dict.fromkeys(t.heat for t in study.trials if t.purpose is Purpose.RACE)
    return [[t.candidate.key for t in study.trials if t.heat == number] for number in numbers]


def test_the_users_own_races_last_and_with_everyone() -> None:
    field = field_of_race(loop_of(searched((BASE, 2.0), (BOTH, 1.0), (LARGE, 1.02)), Path()))
    assert field[0] == BOTH
    assert field[-1] == BASE


def test_the_fewer_minutes_the_fewer_race(tmp_path: Path) -> None:
    medium, small = (BASE.replace(**{MICRO_BATCH: size}) for size in (16, 4))
    study = searched((BASE, 2.0), (LARGE, 1.0), (medium, 1.01), (small, 1.02))
    assert len(field_of_race(loop_of(study, tmp_path))) == 4
    some = loop_of(study, tmp_path)
    field = [LARGE, medium, small, BASE]
    before = heat_seconds(some.study, field, racing.FIRST_ROUNDS) + heat_seconds(some.study, field, racing.LEAST_ROUNDS)
    kept = some.spending.left_seconds() - seconds_before_checks(some)
    assert racing.FIRST_ROUNDS == 8
    enough, short = ((before + kept + extra) / 60 for extra in (+2.0, -2.0))
    assert len(field_of_race(loop_of(study, tmp_path, minutes=enough))) == 4
    assert len(field_of_race(loop_of(study, tmp_path, minutes=short))) == 3
    assert len(field_of_race(loop_of(study, tmp_path, minutes=0.5))) == 2, "the best guess races in any case"


def test_the_fewer_trials_the_fewer_race(tmp_path: Path) -> None:
    """Three were run; seven tenths of the budget of trials are for search and race."""
    study = searched((BASE, 2.0), (LARGE, 1.0), (BOTH, 1.01))
    sizes = [len(field_of_race(loop_of(study, tmp_path, trials=trials))) for trials in (100, 9, 8, 4)]
    assert sizes == [3, 3, 2, 2]


def test_without_anything_that_completed_there_is_no_race(tmp_path: Path) -> None:
    study = with_trials(STUDY, failed(1, BASE, purpose=Purpose.SEARCH))
    with pytest.raises(NoCandidateError, match=r"within 10% of headroom.*can't allocate memory\. Raise target.memory"):
        field_of_race(loop_of(study, tmp_path))


def test_the_reference_is_the_users_own_or_the_best_guess() -> None:
    assert reference(STUDY, [BOTH, LARGE, BASE]) == BASE
    assert reference(STUDY, [BOTH, LARGE]) == BOTH


def test_before_the_checks_there_is_what_is_left_less_the_final_trial_and_after_two_heats_the_loss(
    tmp_path: Path,
) -> None:
    study = searched((BASE, 2.0), (LARGE, 1.0))
    final = 1.5 * (10.0 + 6.0) / 2
    loss = 2 * 2.0 + 10 * (2.0 + 1.0)
    assert seconds_before_checks(loop_of(study, tmp_path, minutes=10)) == pytest.approx(600 - final)
    once = with_trials(study, *heat(11, (LARGE, (1.0,) * 3), (BASE, (2.0,) * 3)))
    assert seconds_before_checks(loop_of(once, tmp_path, minutes=10)) == pytest.approx(600 - final)
    twice = with_trials(once, *heat(13, (LARGE, (1.0,) * 3), (BASE, (2.0,) * 3)))
    assert seconds_before_checks(loop_of(twice, tmp_path, minutes=10)) == pytest.approx(600 - final - loss)


def asked(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[Candidate], float]]:
    """Who would run in the race's next heat, and the seconds that it should take; nothing where there is none."""
    seen: list[tuple[list[Candidate], float]] = []

    def record(_: Loop, field: Sequence[Candidate], purpose: Purpose, wanted_seconds: float) -> bool:
        assert purpose is Purpose.RACE
        seen.append((list(field), wanted_seconds))
        return False

    monkeypatch.setattr(racing, "run_heat", record)
    race(loop)
    return seen


def test_three_heats_are_planned_to_take_seven_tenths_of_the_time_before_the_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = searched((BASE, 2.0), (LARGE, 1.0))
    first = loop_of(study, tmp_path, minutes=10)
    ((_, wanted),) = asked(first, monkeypatch)
    assert wanted == pytest.approx(0.7 / 3 * seconds_before_checks(first))
    second = loop_of(with_trials(study, *heat(11, (LARGE, (1.0,) * 3), (BASE, (2.0,) * 3))), tmp_path, minutes=10)
    ((_, wanted),) = asked(second, monkeypatch)
    taken = (2.0 + 3.0) + (2.0 + 6.0)
    assert wanted == pytest.approx(0.7 / 3 * (seconds_before_checks(second) + taken))


def heats_of(number: int, *ran: tuple[Candidate, Sequence[float]]) -> list[Trial]:
    """So many heats in which all ran alike."""
    return [one for n in range(number) for one in heat(11 + n * len(ran), *ran)]


def test_a_race_is_over_after_two_heats_where_no_rival_is_left_and_after_three_in_any_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = searched((BASE, 2.0), (LARGE, 1.0), (BOTH, 1.0))
    alone = with_trials(study, *heats_of(2, (LARGE, (1.0,) * 4), (BOTH, (1.5,) * 4), (BASE, (2.0,) * 4)))
    assert asked(loop_of(alone, tmp_path), monkeypatch) == []
    rivals = with_trials(study, *heats_of(2, (LARGE, (1.0,) * 4), (BOTH, (1.0,) * 4), (BASE, (2.0,) * 4)))
    assert len(asked(loop_of(rivals, tmp_path), monkeypatch)) == 1
    told = with_trials(study, *heats_of(3, (LARGE, (1.0,) * 4), (BOTH, (1.0,) * 4), (BASE, (2.0,) * 4)))
    assert asked(loop_of(told, tmp_path), monkeypatch) == []


def test_nothing_more_is_run_where_nothing_is_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = searched((BASE, 1.0), (LARGE, 1.01))
    slower = with_trials(study, *heats_of(2, (LARGE, (1.5,) * 4), (BASE, (1.0,) * 4)))
    assert asked(loop_of(slower, tmp_path), monkeypatch) == []


def test_who_is_hopeless_is_in_no_later_heat_and_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = searched((BASE, 1.03), (LARGE, 1.0), (BOTH, 1.01), (BF16, 1.02))
    ran = ((LARGE, (1.0,) * 4), (BOTH, (1.0,) * 4), (BF16, (3.0,) * 4), (BASE, (1.03,) * 4))
    ((field, _),) = asked(loop_of(with_trials(study, *heats_of(2, *ran)), tmp_path), monkeypatch)
    assert {one.key for one in field} == {LARGE.key, BOTH.key, BASE.key}


def test_after_eight_heats_a_race_ends_undecided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, ran = searched((BASE, 1.0), (LARGE, 1.0)), [(0.92,) * 4, (1.04,) * 4]

    def after(number: int) -> Study:
        seen = [
            one for n in range(number) for one in heat(11 + 2 * n, (LARGE, ran[n % 2]), (BASE, (1.0,) * 4))
        ]  # fmt: skip
        return with_trials(study, *seen)

    assert len(asked(loop_of(after(7), tmp_path, minutes=60), monkeypatch)) == 1
    assert asked(loop_of(after(8), tmp_path, minutes=60), monkeypatch) == []


def test_four_race_beside_the_users_own_where_there_is_time() -> None:
    sizes = [BASE.replace(**{MICRO_BATCH: size}) for size in (32, 16, 4, 2, 1)]
    study = searched((BASE, 2.0), *((one, 1.0) for one in sizes))
    assert len(field_of_race(loop_of(study, Path(), minutes=600))) == 5


def test_a_heat_goes_on_until_the_time_before_the_checks_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, seen = FakeClock(), list[list[int]]()
    loop = loop_of(searched((BASE, 1.0), (LARGE, 1.0)), tmp_path, clock=clock)
    taken = TurnTaken(slice=Slice(round=0, first_step=0, num_steps=1, begun_monotonic_seconds=0.0), step_seconds=(1.0,))

    def record(field: object, purpose: object, plan: object, goes_on: GoesOn, *, worst_batch: bool) -> None:
        assert worst_batch
        clock.seconds += seconds_before_checks(loop) - 1.0
        seen.append(list(goes_on([{11: taken, 12: taken}])))
        clock.seconds += 1.0
        seen.append(list(goes_on([{11: taken, 12: taken}])))

    monkeypatch.setattr(loop, "run_in_turns", record)
    assert run_heat(loop, [LARGE, BASE], Purpose.RACE, 30.0)
    assert seen == [[11, 12], []]


def test_who_was_in_no_heat_yet_runs_the_worst_batch_beside_who_was(tmp_path: Path) -> None:
    loop = loop_of(
        with_trials(searched((BASE, 1.0), (LARGE, 1.0)), *heats_of(1, (LARGE, (1.0,)), (BASE, (1.0,)))), tmp_path
    )
    assert run_heat(loop, [BF16, BASE], Purpose.ABLATION, 30.0)
    assert [t.measurement.worst_batch_ran for t in loop.study.trials[-2:] if t.measurement] == [True, True]


def steps_of_heat(loop: Loop, wanted_seconds: float) -> int:
    """How many rounds a heat of the user's own and another has."""
    assert run_heat(loop, [LARGE, BASE], Purpose.RACE, wanted_seconds)
    measurement = loop.study.trials[-1].measurement
    assert measurement is not None
    return len(measurement.slices)


def test_a_heat_has_as_many_rounds_as_the_wanted_time_has_room_for(tmp_path: Path) -> None:
    study = with_trials(searched((BASE, 1.0), (LARGE, 1.0)), *heat(11, (LARGE, (1.0,) * 3), (BASE, (1.0,) * 3)))
    start = heat_seconds(study, [LARGE, BASE], 0)
    assert steps_of_heat(loop_of(study, tmp_path), start + 2 * 7.5) == 7
    assert steps_of_heat(loop_of(study, tmp_path), start) == racing.LEAST_ROUNDS == 4
    assert steps_of_heat(loop_of(study, tmp_path), 1000.0) == racing.MOST_ROUNDS == 10


def test_the_first_heat_is_long_enough_to_tell_the_loss_too(tmp_path: Path) -> None:
    assert steps_of_heat(loop_of(searched((BASE, 1.0), (LARGE, 1.0)), tmp_path), 0.0) == 8


def test_there_is_no_heat_without_the_time_for_a_round_or_the_trials(tmp_path: Path) -> None:
    study = with_trials(searched((BASE, 1.0), (LARGE, 1.0)), *heat(11, (LARGE, (1.0,) * 10), (BASE, (1.0,) * 10)))
    left = loop_of(study, tmp_path)
    needed = heat_seconds(left.study, [LARGE, BASE], 1) + left.spending.left_seconds() - seconds_before_checks(left)
    assert not run_heat(loop_of(study, tmp_path, minutes=(needed - 0.1) / 60), [LARGE, BASE], Purpose.RACE, 100.0)
    assert run_heat(loop_of(study, tmp_path, minutes=(needed + 0.1) / 60), [LARGE, BASE], Purpose.RACE, 100.0)
    assert not run_heat(loop_of(study, tmp_path, minutes=needed / 3 / 60), [LARGE, BASE], Purpose.RACE, 100.0)
    # 4 trials are in the study and 2 more would be run: 70 % of the budget is for the race, 90 % for lines too.
    assert not run_heat(loop_of(study, tmp_path, trials=8), [LARGE, BASE], Purpose.RACE, 100.0)
    assert run_heat(loop_of(study, tmp_path, trials=8), [LARGE, BASE], Purpose.ABLATION, 100.0)
    assert run_heat(loop_of(study, tmp_path, trials=9), [LARGE, BASE], Purpose.RACE, 100.0)
    long = with_trials(searched((BASE, 1.0), (LARGE, 1.0)), *heats_of(8, (LARGE, (1.0,)), (BASE, (1.0,))))
    assert not run_heat(loop_of(long, tmp_path, trials=21), [LARGE, BASE], Purpose.ABLATION, 100.0)


def test_a_clear_race_is_over_after_two_heats(tmp_path: Path) -> None:
    loop = loop_of(searched((BASE, 2.0), (BOTH, 1.0)), tmp_path)
    assert race(loop) == [BOTH, BASE]
    assert raced(loop.study) == [[BOTH.key, BASE.key]] * racing.LEAST_HEATS
    said = verdict(loop.study, [BOTH, BASE])
    assert said is not None
    assert said.best == BOTH.key


def test_alike_contenders_race_until_it_is_known_that_nothing_is_to_be_had_or_the_heats_are_over(
    tmp_path: Path,
) -> None:
    alike = Physics(bf16_factor=1.0, process_noise=0.03)
    loop = loop_of(searched((BASE, 1.0), (BF16, 1.0)), tmp_path, minutes=60, physics=alike)
    race(loop)
    assert racing.LEAST_HEATS <= len(raced(loop.study)) <= racing.MOST_HEATS == 8


def test_a_contender_that_fails_in_a_heat_is_in_no_other(tmp_path: Path) -> None:
    study = with_trials(
        searched((BASE, 2.0), (BOTH, 1.0), (BF16, 1.0)),
        *heat(4, (BOTH, (1.0,) * 3), (BASE, (2.0,) * 3)),
        failed(6, BF16, heat=4),
    )
    loop = loop_of(study, tmp_path)
    race(loop)
    assert all(BF16.key not in keys for keys in raced(loop.study)[1:])


def test_who_is_alone_does_not_race(tmp_path: Path) -> None:
    loop = loop_of(searched((BASE, 1.0)), tmp_path)
    assert race(loop) == [BASE]
    assert raced(loop.study) == []
    assert verdict(loop.study, [BASE]) is None


def test_the_verdict_is_of_who_met_the_reference(tmp_path: Path) -> None:
    study = with_trials(STUDY, *heat(1, (BF16, (1.0,) * 3), (LARGE, (2.0,) * 3)))
    assert verdict(study, [BF16, LARGE, BASE]) is None
    met = with_trials(study, *heat(3, (LARGE, (1.0,) * 3), (BASE, (1.5,) * 3)))
    said = verdict(met, [BF16, LARGE, BASE])
    assert said is not None
    assert said.best == LARGE.key, "who did not run beside the user's own is not judged"


def test_what_does_not_fit_side_by_side_runs_one_after_the_other_and_who_is_first_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(racing, "fit_beside", lambda *_: False)
    loop = loop_of(searched((BASE, 2.0), (BOTH, 1.0)), tmp_path)
    for _ in range(2):
        assert run_heat(loop, [BOTH, BASE], Purpose.RACE, 100.0)
    assert raced(loop.study) == [[BOTH.key, BASE.key], [BASE.key, BOTH.key]]
    assert all(
        t.outcome is Outcome.COMPLETED and not t.measurement.slices for t in loop.study.trials[2:] if t.measurement
    )


def test_the_worst_batch_runs_once_beside_others_and_not_again(tmp_path: Path) -> None:
    loop = loop_of(searched((BASE, 2.0), (BOTH, 1.0)), tmp_path)
    race(loop)
    ran = [t.measurement.worst_batch_ran for t in loop.study.trials if t.heat is not None and t.measurement]
    assert ran == [True, True, False, False]
