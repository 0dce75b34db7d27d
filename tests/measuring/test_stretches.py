"""What disturbed the steps of a trial that runs by itself."""

from pathlib import Path

import pytest

from perftune.devices.disturbance import DisturbanceCounters
from perftune.measuring.stretches import LEAST_SECONDS, Stretches
from tests.devices.test_disturbance import Kernel

SECOND = 10**9


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    found = Kernel(tmp_path)
    found.thread(1, 0, 0)
    found.steal(0)
    return found


def test_a_stretch_closes_when_it_is_long_enough(kernel: Kernel) -> None:
    stretches = Stretches(DisturbanceCounters(kernel.root))
    seconds = [0.6 * LEAST_SECONDS]
    stretches.step_ended(seconds)
    assert stretches.closed == []
    for _ in range(2):
        seconds.append(0.6 * LEAST_SECONDS)
        stretches.step_ended(seconds)
    assert [(part.round, part.first_step, part.num_steps) for part in stretches.closed] == [(0, 0, 2)]
    seconds.append(LEAST_SECONDS)
    stretches.step_ended(seconds)
    assert [(part.round, part.first_step, part.num_steps) for part in stretches.closed] == [(0, 0, 2), (1, 2, 2)]


def test_what_threads_waited_is_taken_off_the_steps_of_the_stretch_and_of_no_other(kernel: Kernel) -> None:
    stretches = Stretches(DisturbanceCounters(kernel.root))
    kernel.thread(1, 3 * SECOND, SECOND)
    stretches.step_ended([4.0])
    kernel.thread(1, 7 * SECOND, SECOND)
    stretches.step_ended([4.0, 4.0])
    assert stretches.undisturbed([4.0, 4.0, 2.0]) == pytest.approx([3.0, 4.0, 2.0])


def test_what_came_before_the_first_step_disturbs_nothing(kernel: Kernel) -> None:
    stretches = Stretches(DisturbanceCounters(kernel.root))
    kernel.thread(1, 3 * SECOND, 9 * SECOND)
    stretches.begin()
    kernel.thread(1, 7 * SECOND, 9 * SECOND)
    stretches.step_ended([4.0])
    assert stretches.undisturbed([4.0]) == pytest.approx([4.0])


def test_the_step_under_way_is_looked_at_without_closing_its_stretch(kernel: Kernel) -> None:
    stretches = Stretches(DisturbanceCounters(kernel.root))
    kernel.thread(1, 6 * SECOND, 2 * SECOND)
    assert stretches.undisturbed_so_far(8.0) == pytest.approx(6.0)
    assert stretches.closed == []
    kernel.thread(1, 12 * SECOND, 4 * SECOND)
    stretches.step_ended([16.0])
    assert stretches.undisturbed([16.0]) == pytest.approx([12.0])


def test_where_the_kernel_tells_nothing_steps_are_as_they_are(tmp_path: Path) -> None:
    stretches = Stretches(DisturbanceCounters(tmp_path))
    stretches.step_ended([4.0])
    assert stretches.undisturbed([4.0]) == [4.0]
    assert stretches.undisturbed_so_far(8.0) == 8.0
