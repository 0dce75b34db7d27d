"""Comparisons are made between runs that lie next to each other in time."""

from perftune.records.candidate import Candidate
from perftune.records.trial import Failure, Outcome, Purpose, Trial
from perftune.tuning.comparisons import neighbours


def trial(number: int) -> Trial:
    candidate = Candidate(settings={"per_device_train_batch_size": 1})
    failure = Failure(kind=Outcome.CRASHED, message="only its number counts")
    return Trial(
        number=number,
        purpose=Purpose.RACE,
        candidate=candidate,
        outcome=Outcome.CRASHED,
        failure=failure,
        wall_seconds=1.0,
    )


def numbers(first: list[int], others: list[int]) -> list[tuple[int, int]]:
    pairs = neighbours([trial(n) for n in first], [trial(n) for n in others])
    return [(a.number, b.number) for a, b in pairs]


def test_each_run_is_paired_with_the_nearest_and_once() -> None:
    assert numbers([3, 6, 9], [2, 5, 10]) == [(3, 2), (6, 5), (9, 10)]


def test_runs_of_a_later_round_are_not_paired_with_earlier_ones() -> None:
    assert numbers([20, 23], [2, 5, 8, 21, 24]) == [(20, 21), (23, 24)]


def test_without_a_partner_there_is_no_pair() -> None:
    assert numbers([1, 2, 3], [3]) == [(3, 3)]
    assert numbers([], [1]) == []
