"""Rounds of a heat."""

from perftune.records.heat import rounds_of


def test_no_trials_have_no_rounds() -> None:
    assert rounds_of([]) == []
