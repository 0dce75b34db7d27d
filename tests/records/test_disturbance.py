"""What a slice, a measurement and an observation of the search are without what disturbed them."""

import math

import pytest

from perftune.records.disturbance import undisturbed, undisturbed_seconds
from perftune.records.probe import Objective
from perftune.records.trial import Purpose, Slice
from perftune.search.encoding import Encoding
from perftune.search.observations import observe
from tests.tuning.made import empty_study, trial

SPACE = empty_study().space


def part(run_queue_seconds: float | None, num_threads: int) -> Slice:
    return Slice(
        round=0, first_step=3, num_steps=2, begun_monotonic_seconds=0.0,
        run_queue_seconds=run_queue_seconds, num_threads=num_threads,
    )  # fmt: skip


@pytest.mark.parametrize("num_threads", [1, 2, 16])
@pytest.mark.parametrize("waited", [None, 0.0])
def test_what_never_waited_or_cannot_be_told_stays_as_it_is(waited: float | None, num_threads: int) -> None:
    assert undisturbed_seconds(part(waited, num_threads), (1.0, 3.0)) == 4.0


def test_what_one_thread_waited_is_taken_off() -> None:
    assert undisturbed_seconds(part(1.5, 1), (1.0, 3.0)) == pytest.approx(2.5)


@pytest.mark.parametrize(("first", "second"), [(0.5, 0.5), (0.2, 0.2), (0.05, 0.05)])
def test_two_threads_go_on_while_neither_waits(first: float, second: float) -> None:
    """Each has its core for a share of the time, independently of the other."""
    wall = 2.0
    found = undisturbed_seconds(part((first + second) * wall, 2), (wall,))
    assert found == pytest.approx(wall * (1 - first) * (1 - second))


def test_rare_waits_all_count_and_many_do_not_take_off_more_than_there_is() -> None:
    assert undisturbed_seconds(part(0.01, 8), (1.0,)) == pytest.approx(0.99, abs=1e-4)
    assert undisturbed_seconds(part(7.0, 8), (1.0,)) == pytest.approx(0.1)
    assert undisturbed_seconds(part(9.0, 8), (1.0,)) == pytest.approx(0.1)


def test_a_slice_without_threads_or_time_is_no_error() -> None:
    assert undisturbed_seconds(part(1.0, 0), (1.0,)) == 1.0
    assert undisturbed_seconds(part(1.0, 2), (0.0,)) == 0.0
    assert not math.isnan(undisturbed_seconds(part(1.0, 2), ()))


def test_a_measurement_without_what_disturbed_it_keeps_the_shares_of_its_parts() -> None:
    stretch = part(1.0, 1).model_copy(update={"first_step": 1})
    measured = trial(1, SPACE.base, (1.0, 2.0, 2.0), purpose=Purpose.SEARCH, stretches=(stretch,)).measurement
    assert measured is not None
    quiet = undisturbed(measured).steps
    assert quiet.step_seconds == pytest.approx((1.0, 1.5, 1.5))
    assert quiet.forward_seconds == pytest.approx((0.4, 0.6, 0.6))
    assert quiet.num_samples == measured.steps.num_samples


def test_the_search_sees_a_disturbed_trial_as_the_same_one_undisturbed() -> None:
    stretch = part(3.0, 1).model_copy(update={"first_step": 0, "num_steps": 3})
    disturbed = trial(1, SPACE.base, (2.0, 2.0, 2.0), purpose=Purpose.SEARCH, stretches=(stretch,))
    quiet = trial(1, SPACE.base, (1.0, 1.0, 1.0), purpose=Purpose.SEARCH)
    one, other = (observe(Encoding(SPACE), [each], Objective.SAMPLES_PER_SECOND)[0] for each in (disturbed, quiet))
    assert one.log_total == pytest.approx(other.log_total)
    assert one.log_parts == pytest.approx(other.log_parts)
