"""Decisions against values worked out by hand, and against what must not change them."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from perftune.decisions import Answer, compare, decide, hopeless, is_over
from perftune.heats import Heat


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


def test_the_worst_drops_out_and_the_reference_does_not() -> None:
    heats = made_up({"a": 0.5, "b": 0.49, "c": 0.0, "own": 0.0}, 2)
    keys: Sequence[str] = ["a", "b", "c", "own"]
    assert hopeless(heats, keys, "own") == ("c",)
    assert hopeless(heats, keys) == ("c", "own")
    assert not is_over(heats, keys, worthwhile=0.01)
    assert is_over(heats, ["a", "c"], worthwhile=0.01)
