"""The evaluation batch: the user's own stays unless another is faster on the same samples."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from perftune.records.study import Study
from perftune.records.trial import Evaluation, Outcome, Purpose, Trial
from perftune.tuning import probe_study
from perftune.tuning.evaluating import best_eval_batch, own_eval_batch
from tests.tuning.scripted import ScriptedRunner, answer, probe


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    runner = ScriptedRunner()
    return probe_study(probe(), tmp_path_factory.mktemp("study"), runner=runner, clock=runner.clock)


def with_seconds(study: Study, seconds: Mapping[int, tuple[float, ...]], peak_bytes: int = 1) -> Study:
    """Another outcome of the evaluation trial: seconds of each size, round by round."""
    trial = evaluation_trial(study)
    assert trial.measurement is not None
    found = tuple(
        Evaluation(num_samples=64, seconds=one, per_device_eval_batch_size=size, round=number, peak_bytes=peak_bytes)
        for size, rounds in seconds.items()
        for number, one in enumerate(rounds)
    )
    measured = trial.model_copy(update={"measurement": trial.measurement.model_copy(update={"evaluations": found})})
    trials = tuple(measured if one.number == trial.number else one for one in study.trials)
    return study.model_copy(update={"trials": trials})


def evaluation_trial(study: Study) -> Trial:
    (trial,) = [trial for trial in study.trials if trial.purpose is Purpose.EVALUATION]
    assert trial.outcome is Outcome.COMPLETED
    return trial


def test_one_trial_evaluates_every_size_and_the_users_own_on_the_same_samples(study: Study) -> None:
    measurement = evaluation_trial(study).measurement
    assert measurement is not None
    sizes = {one.per_device_eval_batch_size for one in measurement.evaluations}
    assert sizes >= {own_eval_batch(study), 8, 256}
    assert len({one.num_samples for one in measurement.evaluations}) == 1


def test_the_fastest_is_written(study: Study) -> None:
    assert answer(study).eval_batch_size == 256
    assert answer(study).arguments["per_device_eval_batch_size"] == 256


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({8: (1.0, 1.01, 1.0), 16: (0.97, 0.98, 0.97)}, None),
        ({8: (1.0, 1.01, 1.0), 16: (0.8, 0.81, 0.8)}, 16),
        ({8: (1.0, 1.0, 1.0), 16: (1.2, 1.2, 1.2)}, None),
        ({8: (1.0, 3.0, 1.0), 16: (0.99, 1.0, 2.9)}, None),
        ({16: (0.8, 0.8, 0.8)}, 16),
        ({}, None),
    ],
    ids=["as fast", "faster", "slower", "disturbed", "own failed", "none"],
)
def test_what_is_told(study: Study, seconds: Mapping[int, tuple[float, ...]], best: int | None) -> None:
    assert best_eval_batch(with_seconds(study, seconds), answer(study).candidate) == best


def test_what_does_not_leave_the_headroom_is_not_told(study: Study) -> None:
    seconds = {8: (1.0, 1.0, 1.0), 16: (0.5, 0.5, 0.5)}
    over = int(study.space.usable_memory_bytes) + 1
    assert best_eval_batch(with_seconds(study, seconds, over - 1), answer(study).candidate) == 16
    assert best_eval_batch(with_seconds(study, seconds, over), answer(study).candidate) is None


def test_it_is_not_run_twice(study: Study, tmp_path: Path) -> None:
    assert len([trial for trial in study.trials if trial.purpose is Purpose.EVALUATION]) == 1
