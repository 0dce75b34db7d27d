"""Decisions against values worked out by hand, and against what must not change them."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import t as student

from perftune.decisions import PEAK_SPREAD, Answer, Table, Verdict, compare, decide, hopeless, is_over
from perftune.heats import Heat, arranged, fit


def heats_of(*cells: dict[str, float], num_rounds: int = 4) -> list[Heat]:
    """Heats whose every round says the same."""
    return [{key: [value] * num_rounds for key, value in heat.items()} for heat in cells]


def made_up(
    gains: dict[str, float], num_heats: int, spread: float = 0.01, seed: int = 0, num_rounds: int = 8
) -> list[Heat]:
    """Heats of processes that differ by a spread, of rounds that differ by 2 % and drift."""
    rng = np.random.default_rng(seed)
    heats = []
    for _ in range(num_heats):
        drift = rng.normal(0, 0.05, num_rounds).cumsum()
        heats.append(
            {
                key: (gain + rng.normal(0, spread) + rng.normal(0, 0.02, num_rounds) + drift).tolist()
                for key, gain in gains.items()
            }
        )
    return heats


def test_two_contenders_are_a_paired_t_interval() -> None:
    # Differences by heat 0.1, 0.2, 0.3: mean 0.2, sd 0.1, standard error 0.1 / √3, two degrees.
    found = compare(heats_of({"a": 0.1, "b": 0.0}, {"a": 1.2, "b": 1.0}, {"a": 0.3, "b": 0.0}), "a", "b")
    assert found is not None
    assert found.log_ratio == pytest.approx(0.2)
    assert found.standard_error == pytest.approx(0.1 / math.sqrt(3))
    assert (found.degrees, found.num_heats, found.num_rounds) == (2, 3, 12)
    assert np.log(found.ratio()) == pytest.approx(
        [0.2, 0.2 - 4.3027 * 0.1 / math.sqrt(3), 0.2 + 4.3027 * 0.1 / math.sqrt(3)], abs=1e-5
    )


def test_three_contenders_over_three_heats_have_four_degrees() -> None:
    cells = ({"a": 0.1, "b": 0.0, "c": 0.03}, {"a": 0.12, "b": 0.05, "c": 0.0}, {"a": 0.05, "b": 0.02, "c": 0.01})
    found = compare(heats_of(*cells), "a", "b")
    assert found is not None
    table = np.array([list(row.values()) for row in cells])
    residuals = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    assert found.degrees == 4
    assert found.log_ratio == pytest.approx(0.2 / 3)
    assert found.standard_error == pytest.approx(math.sqrt((residuals**2).sum() / 4 * 2 / 3))


def test_one_heat_has_no_interval_but_a_chance() -> None:
    found = compare(heats_of({"a": 0.05, "b": 0.0}), "a", "b")
    assert found is not None
    assert found.ratio() == (pytest.approx(math.exp(0.05)), 0.0, math.inf)
    assert 0.75 < found.chance_above(0.0) < 0.95


def test_order_turns_the_sign_and_nothing_else() -> None:
    heats = made_up({"a": 0.03, "b": 0.0, "c": 0.01}, 3)
    one, other = compare(heats, "a", "b"), compare(heats, "b", "a")
    assert one is not None
    assert other is not None
    assert one.log_ratio == pytest.approx(-other.log_ratio)
    assert one.standard_error == pytest.approx(other.standard_error)
    assert one.ratio().low == pytest.approx(1 / other.ratio().high)
    assert one.chance_above(0.02) == pytest.approx(1 - other.chance_above(-0.02))


def test_what_slows_a_whole_round_changes_nothing() -> None:
    heats = made_up({"a": 0.03, "b": 0.0, "c": 0.01}, 3)
    shifts = np.random.default_rng(1).normal(0, 2, (3, 8))
    shifted = [
        {k: [v + s for v, s in zip(row, shift, strict=True)] for k, row in heat.items()}
        for heat, shift in zip(heats, shifts, strict=True)
    ]
    one, other = compare(heats, "a", "b"), compare(shifted, "a", "b")
    assert one is not None
    assert other is not None
    assert one.log_ratio == pytest.approx(other.log_ratio)
    assert one.standard_error == pytest.approx(other.standard_error)


@pytest.mark.parametrize(
    ("gain", "num_heats", "expected"),
    [
        (math.log(2), 1, Answer.TUNED),
        (0.2, 2, Answer.TUNED),
        (0.0, 30, Answer.KEEP_YOURS),
        (-0.3, 2, Answer.KEEP_YOURS),
        (0.01, 2, Answer.NOT_DECIDED),
    ],
)
def test_answers(gain: float, num_heats: int, expected: Answer) -> None:
    verdict = decide(made_up({"new": gain, "own": 0.0}, num_heats), ["new", "own"], "own", worthwhile=0.02)
    assert verdict.answer is expected
    assert verdict.best == "new"


def test_nothing_measured_is_not_decided() -> None:
    verdict = decide([], ["new"], "own", worthwhile=0.02)
    assert (verdict.answer, verdict.best, verdict.more_heats) == (Answer.NOT_DECIDED, None, None)
    assert verdict.chance == 0.0


def test_the_worst_drops_out_and_the_reference_does_not() -> None:
    heats = made_up({"a": 0.5, "b": 0.49, "c": 0.0, "own": 0.0}, 2)
    keys: Sequence[str] = ["a", "b", "c", "own"]
    assert hopeless(heats, keys, "own") == ("c",)
    assert hopeless(heats, keys) == ("c", "own")
    assert not is_over(heats, keys, worthwhile=0.01)
    assert is_over(heats, ["a", "c"], worthwhile=0.01)


def test_who_never_met_is_not_compared() -> None:
    heats = heats_of({"a": 0.1, "b": 0.0}, {"c": 0.1, "d": 0.0})
    assert compare(heats, "a", "c") is None
    assert compare(heats, "a", "nobody") is None
    assert compare(heats, "nobody", "a") is None
    assert compare([], "a", "b") is None


def test_heats_and_rounds_are_those_in_which_both_ran() -> None:
    heats: list[Heat] = [
        {"a": [0.1, None, 0.1], "b": [0.0, 0.0, None], "c": [0.0] * 3},
        {"a": [0.1] * 3, "c": [0.0] * 3},
    ]
    found = compare(heats, "a", "b")
    assert found is not None
    assert (found.num_heats, found.num_rounds) == (1, 1)


def test_the_best_of_many_has_a_lower_bound_further_down() -> None:
    heats = made_up({"a": 0.03, "b": 0.0, "c": 0.01}, 3)
    alone, best = compare(heats, "a", "b"), compare(heats, "a", "b", among=4)
    assert alone is not None
    assert best is not None
    # 95 %: the lower tail has 0.05 / 5, the upper one 0.04; t(4) = 3.747 and 2.333.
    assert math.log(best.ratio().low) == pytest.approx(best.log_ratio - 3.74695 * best.standard_error, abs=1e-5)
    assert math.log(best.ratio().high) == pytest.approx(best.log_ratio + 2.33287 * best.standard_error, abs=1e-5)
    assert alone.ratio(0.99).low == pytest.approx(math.exp(alone.log_ratio - 4.60409 * alone.standard_error))
    assert best.belief == alone.belief


def test_the_belief_of_one_heat_by_hand() -> None:
    # Rounds that all say the same: a process's spread of 2 % is all there is, times two processes, over the weight
    # of a cell (6 rounds, each 15 / 16 undisturbed, n / (n + 4)), with 5 degrees; then drawn to 0 by gains of 20 %.
    found = compare(heats_of({"a": 0.3, "b": 0.0}, num_rounds=6), "a", "b")
    assert found is not None
    weight = 5.625 / 9.625
    variance = 2 * 0.02**2 / weight
    kept = 0.04 / (0.04 + variance)
    assert found.belief == pytest.approx((kept * 0.3, math.sqrt(kept * variance), 5.0), rel=1e-4)
    assert found.expected_loss() == found.belief.expected_loss()


def test_the_belief_pools_what_is_known_with_what_is_measured() -> None:
    heats = heats_of({"a": 0.1, "b": 0.0}, {"a": 0.16, "b": 0.0}, {"a": 0.04, "b": 0.0}, num_rounds=6)
    found = compare(heats, "a", "b")
    assert found is not None
    keep = found.standard_error**2
    # Residuals ± 0.03 in two blocks of two cells: variance of a difference 0.06², of three heats 0.0012.
    assert keep == pytest.approx(0.06**2 / 3)
    fitted = fit(arranged(heats)[1])
    factor = fitted.covariance[0, 0] + fitted.covariance[1, 1] - 2 * fitted.covariance[0, 1]
    known = (0.02**2 + float(fitted.spread) ** 2 / 8) * factor
    assert 0.04 < fitted.spread < 0.06
    variance = (5 * known + 2 * keep) / 7
    kept = 0.04 / (0.04 + variance)
    assert found.belief == pytest.approx((kept * 0.1, math.sqrt(kept * variance), 7.0), rel=1e-3)


def test_peaks_repeat_better_than_times() -> None:
    heats = heats_of({"a": 0.03, "b": 0.0}, {"a": 0.03, "b": 0.0}, num_rounds=1)
    usual = decide(heats, ["a"], "b", worthwhile=0.02)
    peaks = decide(heats, ["a"], "b", worthwhile=0.02, process_spread=PEAK_SPREAD)
    assert usual.answer is Answer.NOT_DECIDED
    assert peaks.answer is Answer.TUNED


def test_a_sure_gain_that_is_not_worthwhile_keeps_yours() -> None:
    heats = heats_of(*[{"new": 0.01, "own": 0.0}] * 8)
    assert decide(heats, ["new"], "own", worthwhile=0.02, process_spread=PEAK_SPREAD).answer is Answer.KEEP_YOURS
    assert decide(heats, ["new"], "own", worthwhile=0.0101, process_spread=PEAK_SPREAD).answer is Answer.NOT_DECIDED
    assert decide(heats, ["new"], "own", worthwhile=0.005, process_spread=PEAK_SPREAD).answer is Answer.TUNED


def test_one_heat_is_never_enough_to_give_up() -> None:
    bad = {"new": -1.0, "own": 0.0}
    assert decide(heats_of(bad), ["new"], "own", worthwhile=0.02).answer is Answer.NOT_DECIDED
    assert decide(heats_of(bad, bad), ["new"], "own", worthwhile=0.02).answer is Answer.KEEP_YOURS


def test_who_has_not_met_the_reference_could_still_be_better() -> None:
    heats = heats_of(*[{"new": -0.5, "own": 0.0}] * 4)
    verdict = decide(heats, ["new", "other", "own"], "own", worthwhile=0.02)
    assert (verdict.answer, verdict.best) == (Answer.NOT_DECIDED, "new")


@pytest.mark.parametrize(("others", "max_heats"), [(0, 1), (0, 8), (3, 8)])
def test_the_chance_asked_for_is_shared_by_contenders_and_looks(others: int, max_heats: int) -> None:
    asked = 1 - 0.025 / (others + 1) / max_heats ** (2 / 3)
    names = ["new", *(f"other{number}" for number in range(others))]

    def told(gain: float) -> Verdict:
        cells = dict.fromkeys(names, -1.0) | {"new": gain, "own": 0.0}
        return decide(heats_of(cells, cells), names, "own", worthwhile=0.0, max_heats=max_heats)

    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if told(middle).answer is Answer.TUNED else (middle, high)
    assert told(high).chance == pytest.approx(asked, abs=1e-6)
    assert told(high).comparison is not None


def test_more_heats_are_those_that_it_then_takes() -> None:
    cell = {"new": 0.04, "own": 0.0}
    verdict = decide(heats_of(cell, cell), ["new"], "own", worthwhile=0.02)
    more = verdict.more_heats
    assert verdict.answer is Answer.NOT_DECIDED
    assert more is not None
    assert more > 0
    later = [decide(heats_of(*[cell] * (2 + number)), ["new"], "own", worthwhile=0.02) for number in range(1, more + 1)]
    # The same again also tells that heats agree, so it may take fewer; not more.
    assert later[-1].answer is Answer.TUNED
    assert later[-1].more_heats == 0


def test_what_lies_at_the_threshold_takes_more_than_is_foreseen() -> None:
    cell = {"new": math.log(1.02) - 1e-6, "own": 0.0}
    assert decide(heats_of(cell, cell), ["new"], "own", worthwhile=0.02).more_heats is None


def test_the_best_is_the_one_with_the_highest_ratio() -> None:
    cell = {"a": 0.2, "b": 0.5, "c": 0.3, "own": 0.0}
    verdict = decide(heats_of(cell, cell), ["a", "b", "c"], "own", worthwhile=0.02)
    assert (verdict.best, len(verdict.pairs)) == ("b", 3)
    assert verdict.comparison is not None
    assert verdict.comparison.among == 3
    assert verdict.chance == verdict.comparison.chance_above(0.0)


def test_without_heats_nothing_is_hopeless_or_over() -> None:
    assert hopeless([], ["a", "b"]) == ()
    assert not is_over([], ["a", "b"], worthwhile=0.1)
    assert not is_over(heats_of({"a": 1.0, "b": 0.0}), ["a", "c"], worthwhile=0.1)


def test_a_race_is_over_when_what_is_left_does_not_matter() -> None:
    near = heats_of(*[{"a": 0.0, "b": 0.001, "c": 0.0}] * 4)
    assert is_over(near, ["a", "b"], worthwhile=0.05)
    assert is_over(near, ["b"], worthwhile=0.0)
    assert not is_over(near, ["a", "b", "c"], worthwhile=0.01)


@pytest.mark.parametrize(("gain", "num_heats"), [(0.05, 2), (0.04, 3), (-0.001, 2)])
def test_more_heats_by_hand(gain: float, num_heats: int) -> None:
    verdict = decide(heats_of(*[{"new": gain, "own": 0.0}] * num_heats), ["new"], "own", worthwhile=0.02)
    assert verdict.answer is Answer.NOT_DECIDED
    assert verdict.comparison is not None
    _, scale, degrees = verdict.comparison.belief

    def is_told(more: int) -> bool:
        later = scale * math.sqrt(num_heats / (num_heats + more))
        sure_gain = float(student.cdf(gain / later, degrees + more)) >= 1 - 0.025 / 4
        return sure_gain or float(student.sf((math.log(1.02) - gain) / later, degrees + more)) <= 0.05

    assert verdict.more_heats == next(more for more in range(1, 100) if is_told(more))


def test_up_to_a_hundred_more_heats_are_foreseen() -> None:
    seen = {number: _more(number / 10_000) for number in range(100, 199)}
    assert max(more for more in seen.values() if more is not None) in range(80, 101)
    assert None in seen.values()


def _more(gain: float) -> int | None:
    return decide(heats_of(*[{"new": gain, "own": 0.0}] * 2), ["new"], "own", worthwhile=0.02).more_heats


def test_one_heat_foresees_that_giving_up_takes_two() -> None:
    assert decide(heats_of({"new": -1.0, "own": 0.0}), ["new"], "own", worthwhile=0.02).more_heats == 1


def test_without_a_meeting_no_number_of_heats_is_foreseen() -> None:
    assert decide(heats_of({"new": 1.0, "other": 0.0}), ["new"], "own", worthwhile=0.02).more_heats is None


def test_eight_looks_are_usual() -> None:
    heats = made_up({"new": 0.05, "own": 0.0}, 2)
    usual = decide(heats, ["new"], "own", worthwhile=0.02)
    assert usual.more_heats == decide(heats, ["new"], "own", worthwhile=0.02, max_heats=8).more_heats
    assert usual.rule == decide(heats, ["new"], "own", worthwhile=0.02, max_heats=8).rule
    assert usual.rule != decide(heats, ["new"], "own", worthwhile=0.02, max_heats=7).rule


def test_chance_above_is_that_of_any_gain_unless_said() -> None:
    found = compare(made_up({"a": 0.03, "b": 0.0}, 3), "a", "b")
    assert found is not None
    assert found.chance_above() == found.chance_above(0.0) > found.chance_above(0.001)


@pytest.mark.parametrize(("gain", "is_hopeless"), [(0.13, True), (0.08, False)])
def test_hopeless_is_a_chance_of_one_per_cent(gain: float, is_hopeless: bool) -> None:
    heats = heats_of(*[{"a": gain, "b": 0.0}] * 2)
    found = compare(heats, "b", "a")
    assert found is not None
    assert (found.chance_above(0.0) < 0.01) == is_hopeless
    assert hopeless(heats, ["a", "b"]) == (("b",) if is_hopeless else ())


def test_all_rivals_together_decide_whether_a_race_is_over() -> None:
    cells = {"best": 0.013, "b": 0.0, "c": 0.0, "d": 0.0}
    heats = heats_of(*[cells] * 4)
    for keys, is_told in ((["best", "b"], True), (["best", "b", "c", "d"], False)):
        rivals = [compare(heats, key, "best") for key in keys[1:]]
        total = sum(rival.chance_above(math.log1p(0.01)) for rival in rivals if rival)
        assert (total <= 0.05) == is_told
        assert is_over(heats, keys, worthwhile=0.01) == is_told


def gain_with(chance: float, threshold: float) -> float:
    """The gain of two heats that all say the same, with which the chance to lie above the threshold is this one."""
    low, high = -1.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        found = compare(heats_of(*[{"a": middle, "b": 0.0}] * 2), "a", "b")
        assert found is not None
        low, high = (middle, high) if found.chance_above(threshold) < chance else (low, middle)
    return low


@pytest.mark.parametrize(("chance", "is_hopeless"), [(0.0098, True), (0.0102, False)])
def test_what_is_hopeless_has_a_chance_of_one_in_a_hundred(chance: float, is_hopeless: bool) -> None:
    heats = heats_of(*[{"a": gain_with(chance, 0.0), "b": 0.0}] * 2)
    assert hopeless(heats, ["a", "b"]) == (("a",) if is_hopeless else ())


@pytest.mark.parametrize(("chance", "is_told"), [(0.049, True), (0.051, False)])
def test_what_matters_no_more_has_a_chance_of_one_in_twenty(chance: float, is_told: bool) -> None:
    heats = heats_of(*[{"a": gain_with(chance, math.log(1.02)), "b": 0.0}] * 2)
    answer = decide(heats, ["a"], "b", worthwhile=0.02).answer
    assert answer is (Answer.KEEP_YOURS if is_told else Answer.NOT_DECIDED)
    assert is_over(heats, ["a", "b"], worthwhile=0.02) == is_told


def test_rounds_that_disagree_make_the_chance_smaller() -> None:
    agreed, spoilt = (compare([{"a": rows, "b": [0.0] * 4}], "a", "b") for rows in ([0.3] * 4, [0.3, 0.3, -0.4, 0.9]))
    assert agreed is not None
    assert spoilt is not None
    assert spoilt.log_ratio == pytest.approx(0.3, abs=0.01)
    assert spoilt.belief.scale > 1.5 * agreed.belief.scale
    assert spoilt.chance_above(0.0) < agreed.chance_above(0.0)


def test_a_table_answers_as_the_functions_do() -> None:
    heats = made_up({"a": 0.03, "b": 0.0, "c": 0.01}, 3)
    assert Table.of(heats).compare("a", "b") == compare(heats, "a", "b")


def test_who_met_only_over_others_is_foreseen_as_after_one_heat() -> None:
    cells = {"new": 0.1, "other": 0.0}, {"other": 0.0, "own": 0.0}
    verdict = decide(heats_of(*cells), ["new"], "own", worthwhile=0.02)
    assert verdict.comparison is not None
    assert verdict.comparison.num_heats == 0
    _, scale, degrees = verdict.comparison.belief

    def is_told(more: int) -> bool:
        later = scale * math.sqrt(1 / (1 + more))
        return bool(student.cdf(0.1 / later, degrees + more) >= 1 - 0.025 / 4)

    assert verdict.more_heats == next(more for more in range(1, 100) if is_told(more))
