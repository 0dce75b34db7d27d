"""Contenders' worth from heats: exact where nothing is disturbed, and right where much is."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from perftune.heats import Heat, arranged, fit, other_modes

NAN = math.nan


def worth_of(heats: list[Heat]) -> dict[str, float]:
    keys, blocks = arranged(heats)
    return dict(zip(keys, fit(blocks).worth.tolist(), strict=True))


def test_rounds_that_were_not_run_are_not_numbers() -> None:
    keys, blocks = arranged([{"b": [1.0, None, 3.0], "a": [4.0, 5.0]}])
    assert keys == ("a", "b")
    np.testing.assert_array_equal(blocks, [[[4.0, 5.0, NAN], [1.0, NAN, 3.0]]])


def test_groups_that_never_met_are_blocks_of_their_own_and_loners_none() -> None:
    heat: Heat = {"a": [1.0, None], "b": [2.0, None], "c": [None, 3.0], "d": [None, 4.0], "e": [None, None]}
    _, blocks = arranged([heat, {"a": [1.0]}])
    present = np.isfinite(blocks).any(axis=-1).tolist()
    assert sorted(present) == [[False, False, True, True, False], [True, True, False, False, False]]


@pytest.mark.parametrize("heats", [[], [{}], [{"a": [1.0]}], [{"a": [1.0, None], "b": [None, 1.0]}]])
def test_without_a_meeting_there_is_no_block(heats: list[Heat]) -> None:
    assert len(arranged(heats)[1]) == 0


def test_who_never_met_is_compared_over_others() -> None:
    _, blocks = arranged([{"a": [0.3], "b": [0.0]}, {"b": [5.0], "c": [4.9]}, {"x": [0.0], "y": [1.0]}])
    found = fit(blocks)
    assert found.worth[0] - found.worth[2] == pytest.approx(0.4)
    np.testing.assert_array_equal(found.connected[0], [True, True, True, False, False])
    np.testing.assert_array_equal(found.connected[4], [False, False, False, True, True])
    assert found.degrees == 0
    assert found.variance == 0


def test_missing_cells_are_fitted_by_least_squares() -> None:
    cells = np.array([[0.10, 0.02, 0.05], [0.14, 0.03, NAN], [0.11, NAN, 0.01], [NAN, 0.0, 0.04]])
    found = fit(np.repeat(cells[:, :, None], 6, axis=2))
    there = np.isfinite(cells)
    block, contender = np.nonzero(there)
    design = np.zeros((there.sum(), 7))
    design[np.arange(len(block)), block] = 1
    design[np.arange(len(block)), 4 + contender] = 1
    solution, *_ = np.linalg.lstsq(design, cells[there], rcond=None)
    residuals = cells[there] - design @ solution
    assert found.degrees == 9 - 6
    assert found.worth - found.worth[0] == pytest.approx(solution[4:] - solution[4])
    contrast = np.array([0, 0, 0, 0, 1, -1, 0])
    error = contrast @ np.linalg.pinv(design.T @ design) @ contrast * (residuals**2).sum() / 3
    factor = found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1]
    assert float(found.variance * factor) == pytest.approx(error)


def test_many_rounds_weigh_more_than_few() -> None:
    # Each round is undisturbed with the chance (1 / 0.04) / (1 / 0.04 + 1 / 0.6) = 15 / 16 where it is as its heat, and
    # a cell of n such rounds weighs n / (n + 4).
    many, few = 12 / (12 + 64 / 15), 6 / (6 + 64 / 15)
    heats: list[Heat] = [{"a": [0.10] * 12, "b": [0.0] * 12}, {"a": [0.11] * 6, "b": [0.0] * 6}]
    worth = worth_of(heats)
    assert worth["a"] - worth["b"] == pytest.approx((0.10 * many + 0.11 * few) / (many + few), abs=1e-6)


def test_a_value_may_come_with_leading_axes() -> None:
    rng = np.random.default_rng(0)
    studies = rng.normal(0, 0.02, (3, 2, 3, 5))
    studies[1, 0, 2, 3:] = NAN
    together = fit(studies)
    for number in range(3):
        alone, one = fit(studies[number]), together.of_study(number)
        np.testing.assert_allclose(one.worth, alone.worth)
        np.testing.assert_allclose(one.covariance, alone.covariance)
        assert one.variance == pytest.approx(alone.variance)
        assert (one.degrees, one.spread) == (alone.degrees, pytest.approx(alone.spread))


def test_spoilt_rounds_do_not_count_as_long_as_the_others_agree() -> None:
    rows = [0.05, 0.06, -0.9, 0.04, 0.9, 0.05, 1.1, 0.7]
    worth = worth_of([{"a": rows, "b": [0.0] * 8}])
    assert worth["a"] - worth["b"] == pytest.approx(0.05, abs=0.01)


def test_a_heat_of_one_spoilt_round_is_left_out() -> None:
    whole: list[Heat] = [{"a": [0.05, 0.06, 0.05, 0.04], "b": [0.0] * 4}] * 2
    _, blocks = arranged([*whole, {"a": [0.9], "b": [0.0]}])
    found = fit(blocks)
    assert found.num_quiet[2, 0] < 0.01 < 3.5 < found.num_quiet[0, 0] < 4
    assert found.degrees == 1
    assert found.worth[0] - found.worth[1] == pytest.approx(0.05)


@pytest.mark.parametrize("apart", [0.5, 30.0])
def test_rounds_that_all_disagree_still_have_a_middle(apart: float) -> None:
    _, blocks = arranged([{"a": [apart, -apart], "b": [0.0, 0.0]}])
    found = fit(blocks)
    assert found.connected.all()
    assert found.worth[0] - found.worth[1] == pytest.approx(0.0, abs=1.01 * apart)
    assert np.isfinite(found.covariance).all()


def test_noise_of_rounds_is_their_spread() -> None:
    rng = np.random.default_rng(1)
    found = fit(rng.normal(0, 0.03, (4, 3, 40)))
    assert 0.75 < float(found.spread) / (0.03 * math.sqrt(2)) < 1.0


def test_one_mode_leaves_nothing_open_and_two_leave_their_distance() -> None:
    rounds = np.array([0.0, 0.01, -0.01, 0.02])
    assert other_modes(rounds, 0.0, 0.04) == 0
    assert other_modes(np.array([]), 0.0, 0.04) == 0
    assert other_modes(np.array([0.0, 0.8]), 0.0, 0.01) == pytest.approx(0.8**2 / 2)
    few, many = (other_modes(np.array([*[0.0] * number, 0.8]), 0.0, 0.01) for number in (2, 3))
    # At 0.8 one agrees and at 0 two do: the likelihoods differ by that of one quiet round over a spoilt one.
    quiet, spoilt = 1 / 0.04 + 1 / 0.6, math.exp(-0.5 * (0.8 / 0.6) ** 2) / 0.6
    odds = (spoilt / quiet) ** 0.7
    assert few == pytest.approx(0.64 * odds / (2 + odds), rel=1e-6)
    assert many == pytest.approx(0.64 * odds**2 / (3 + odds**2), rel=1e-6)


def test_modes_within_four_spreads_are_one() -> None:
    assert other_modes(np.array([0.0, 0.31]), 0.0, 0.08) == 0
    assert other_modes(np.array([0.0, 0.33]), 0.0, 0.08) > 0
    assert other_modes(np.array([0.0, 0.17]), 0.0, 0.0) > 0
    assert other_modes(np.array([0.0, 0.15]), 0.0, 0.0) == 0


def test_a_heat_is_its_most_likely_ratio() -> None:
    # Most agree so well that the least spread is taken; one lies at three spreads, three are spoilt.
    rows = np.array([0.05, 0.05, 0.05, 0.05, 0.17, 0.45, -0.8, 0.62])
    grid = np.linspace(0.04, 0.08, 40_001)
    errors = rows[:, None] - grid
    likelihood = np.log(norm.pdf(errors, scale=0.04) + norm.pdf(errors, scale=0.6)).sum(axis=0)
    found = fit(np.stack([rows, np.zeros(8)])[None])
    assert found.spread < 0.04
    assert found.worth[0] - found.worth[1] == pytest.approx(grid[likelihood.argmax()], abs=1e-4)


@pytest.mark.parametrize("log_ratio", [0.0, 0.5])
def test_modes_are_weighed_by_likelihood(log_ratio: float) -> None:
    rounds = np.array([0.0, 0.1, 0.45, 0.52, -0.7, 0.05])
    errors = rounds[:, None] - rounds
    logs = 0.7 * np.log(norm.pdf(errors, scale=0.05) + norm.pdf(errors, scale=0.6)).sum(axis=1)
    far = np.abs(rounds - log_ratio) > 0.2
    expected = (np.exp(logs) * far * (rounds - log_ratio) ** 2).sum() / np.exp(logs).sum()
    assert other_modes(rounds, log_ratio, 0.05) == pytest.approx(expected)


def test_modes_of_very_many_rounds() -> None:
    rounds = np.concatenate([np.zeros(900), np.full(900, 1.0)])
    assert other_modes(rounds, 0.0, 0.02) == pytest.approx(0.5)


def test_quiet_rounds_of_a_process_are_counted_by_partner() -> None:
    # a meets b in two rounds and c in one, of which the one with c is far off in a heat that is otherwise known.
    usual: Heat = {key: [0.0] * 4 for key in "abc"}
    _, blocks = arranged([usual, {"a": [0.0, 0.0, 0.0], "b": [0.0, 0.0, None], "c": [None, None, 0.0]}])
    found = fit(blocks)
    np.testing.assert_allclose(found.num_quiet[1], np.array([1.5, 2.0, 1.0]) * 15 / 16, rtol=1e-4)
    np.testing.assert_allclose(found.num_quiet[0], 4 * 15 / 16, rtol=1e-4)


def test_who_was_absent_has_no_quiet_round() -> None:
    _, blocks = arranged([{"a": [0.0], "b": [0.0]}, {"a": [0.0], "c": [0.0]}])
    np.testing.assert_array_equal(fit(blocks).num_quiet > 0, [[True, True, False], [True, False, True]])


def test_processes_that_differ_as_a_whole_are_not_taken_for_bursts() -> None:
    heats: list[Heat] = [{"a": [gain] * 6, "b": [0.0] * 6} for gain in (0.0, 0.06, 0.12)]
    _, blocks = arranged(heats)
    found = fit(blocks)
    assert found.degrees == 2
    assert found.worth[0] - found.worth[1] == pytest.approx(0.06)
    factor = float(found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1])
    assert float(found.variance) * factor == pytest.approx(0.06**2 / 3)


def test_a_process_that_is_faster_as_a_whole_still_counts() -> None:
    _, blocks = arranged([{"a": [gain] * 6, "b": [0.0] * 6} for gain in (0.0, 0.0, 0.0, 0.12)])
    found = fit(blocks)
    assert found.degrees == 3
    assert found.worth[0] - found.worth[1] == pytest.approx(0.03)


@pytest.mark.parametrize("rounds", [3, 4, 8])
def test_processes_of_two_kinds_are_told_from_bursts_by_agreeing_with_themselves(rounds: int) -> None:
    """Of a candidate whose processes are 20 % slower or faster, seen three times against two, nothing is known."""
    heats: list[Heat] = [{"a": [gain] * rounds, "b": [0.0] * rounds} for gain in (0.22, -0.22, 0.22, -0.22, 0.22)]
    _, blocks = arranged(heats)
    found = fit(blocks)
    assert found.degrees == 4
    assert found.worth[0] - found.worth[1] == pytest.approx(0.22 / 5)
    factor = float(found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1])
    spread = np.std([0.22, -0.22, 0.22, -0.22, 0.22], ddof=1)
    assert math.sqrt(float(found.variance) * factor) == pytest.approx(spread / math.sqrt(5))


def test_a_heat_of_one_kind_counts_for_all_of_its_contenders() -> None:
    usual: Heat = {"a": [0.1] * 4, "b": [0.0] * 4, "c": [0.05] * 4}
    _, blocks = arranged([usual, usual, {**usual, "a": [0.5] * 4}])
    found = fit(blocks)
    assert (found.num_quiet[2] > 3.5).all()
    assert found.worth[0] - found.worth[1] == pytest.approx((0.1 + 0.1 + 0.5) / 3)
    assert found.worth[2] - found.worth[1] == pytest.approx(0.05)


def test_a_heat_of_bursts_that_disagree_is_left_out() -> None:
    usual: Heat = {"a": [0.1] * 4, "b": [0.0] * 4}
    _, blocks = arranged([usual, usual, {"a": [0.6, 0.9, 0.6, -0.4], "b": [0.0] * 4}])
    found = fit(blocks)
    assert found.num_quiet[2, 0] < 0.5
    assert found.worth[0] - found.worth[1] == pytest.approx(0.1, abs=1e-3)


def test_a_study_beside_others_keeps_its_own_least_rounds() -> None:
    rounds = np.zeros((2, 1, 2, 2))
    rounds[0, 0, 0] = (2.0, -2.0)
    found = fit(rounds)
    assert found.connected.all()
    assert found.num_quiet[0].max() < 1e-3 < found.num_quiet[1].min()


@pytest.mark.parametrize("leading", [(), (1,), (2, 1)])
def test_contenders_that_differ_much_are_told_apart_over_heats(leading: tuple[int, ...]) -> None:
    noise = np.random.default_rng(4).normal(0, 0.01, (*leading, 4, 3, 5))
    found = fit(noise + np.array([2.0, 0.0, -1.0])[:, None])
    np.testing.assert_allclose(
        found.worth - found.worth[..., 1:2], np.broadcast_to([2.0, 0.0, -1.0], (*leading, 3)), atol=0.02
    )
    assert (found.spread < 0.02).all()
    assert (found.degrees == 6).all()
    assert (found.num_quiet > 4).all()
