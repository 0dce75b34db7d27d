"""Steps that wait for data: workers are tried at once, as many as it takes; where nothing waits, others come first."""

import numpy as np
import pytest

from perftune.records.candidate import WORKERS, Candidate, Knob, Space
from perftune.records.probe import Objective
from perftune.records.trial import Trial
from perftune.search import ModelSearch, leader
from perftune.search.priors import HANDED_ON, waiting_seconds

SAMPLES = Objective.SAMPLES_PER_SECOND
NUM_WORKERS = (0, 2, 4, 8, 16)


@pytest.fixture
def waiting_space(space: Space) -> Space:
    knobs = (*space.knobs, Knob(name=WORKERS, values=NUM_WORKERS))
    return space.model_copy(update={"knobs": knobs, "base": space.base.replace(**{WORKERS: 0})})


def run(trial, number: int, candidate: Candidate, loading: float) -> Trial:
    """A step computes for a second; bf16 and the fused optimizer help a little, and workers share the loading."""
    computing = (
        1.0 - 0.05 * (candidate.settings["precision"] == "bf16") - 0.05 * ("fused" in candidate.settings["optim"])
    )
    workers = candidate.settings[WORKERS]
    data = max(loading / workers - computing, 0.02 * loading) if workers else loading
    whole = trial(number, candidate, computing + data)
    assert whole.measurement is not None
    steps = whole.measurement.steps
    series = {"data": data, "forward": 0.3 * computing, "backward": 0.6 * computing, "optimizer": 0.1 * computing}
    update = {f"{name}_seconds": (seconds,) * len(steps) for name, seconds in series.items()}
    measurement = whole.measurement.model_copy(update={"steps": steps.model_copy(update=update)})
    return whole.model_copy(update={"measurement": measurement})


def search(trial, space: Space, loading: float, num_trials: int) -> list[Trial]:
    trials: list[Trial] = []
    while len(trials) < num_trials:
        candidate = ModelSearch().propose(space, trials, SAMPLES)
        if candidate is None:
            break
        trials.append(run(trial, len(trials), candidate, loading))
    return trials


def test_where_the_first_trial_waits_for_data_the_second_has_workers(trial, waiting_space):
    trials = search(trial, waiting_space, loading=3.0, num_trials=2)
    assert trials[0].candidate.settings[WORKERS] == 0
    assert trials[1].candidate.settings[WORKERS] >= 4, "two would not do: loading takes three times as long as the rest"


def test_the_answer_has_as_many_workers_as_it_takes(trial, waiting_space):
    trials = search(trial, waiting_space, loading=6.0, num_trials=10)
    assert leader(waiting_space, trials, SAMPLES).settings[WORKERS] in (8, 16)


def test_where_nothing_waits_no_trial_is_spent_on_workers(trial, waiting_space):
    trials = search(trial, waiting_space, loading=0.001, num_trials=10)
    assert len(trials) > 2
    assert all(one.candidate.settings[WORKERS] == 0 for one in trials)


def test_workers_hide_what_they_load_beside_the_rest_of_the_step():
    numbers = np.array([0.0, 1.0, 2.0, 4.0, 8.0])
    seconds = waiting_seconds(numbers, 0, 6.0, 1.0)
    assert seconds == pytest.approx([6.0, 5.0, 2.0, 6.0 * HANDED_ON, 6.0 * HANDED_ON])


@pytest.mark.parametrize(("data_seconds", "is_known"), [(2.0, True), (0.01, False)])
def test_a_first_trial_with_workers_tells_what_loading_takes_only_if_it_waits(data_seconds, is_known):
    numbers = np.array([0.0, 2.0, 8.0])
    seconds = waiting_seconds(numbers, 2, data_seconds, 1.0)
    assert seconds[1] == pytest.approx(data_seconds)
    if is_known:
        assert seconds == pytest.approx([6.0, 2.0, 6.0 * HANDED_ON])
    else:
        assert seconds == pytest.approx([data_seconds] * 3)
