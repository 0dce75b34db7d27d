"""A prior in the space: the search knows what fits before it has tried anything, and trials still decide."""

import numpy as np
import pytest

from perftune.records.candidate import MICRO_BATCH, PRECISION, Candidate, Space
from perftune.records.device import Device
from perftune.records.prior import Predicted, Prior
from perftune.records.probe import Objective
from perftune.records.trial import Outcome
from perftune.search import ModelSearch
from perftune.search.encoding import Encoding
from perftune.search.fitting import MemoryModel
from perftune.search.observations import observe
from perftune.search.predictions import predictions
from perftune.search.timing import TimeModel
from perftune.units import GIB, MIB

KNOBS = (MICRO_BATCH, PRECISION, "activation_checkpointing")
DEVICE = Device(kind="cpu", name="made up", memory_bytes=64 * GIB, num_cores=2)


def peak_bytes(candidate: Candidate) -> int:
    saves = 0.3 if candidate.settings["activation_checkpointing"] else 1.0
    return int(400 * MIB + candidate.micro_batch * 100 * MIB * saves)


def seconds(candidate: Candidate) -> tuple[float, float]:
    half = 0.5 if candidate.settings[PRECISION] == "bf16" else 1.0
    recomputes = 4 / 3 if candidate.settings["activation_checkpointing"] else 1.0
    return 0.8 * half * recomputes, 0.8 / candidate.micro_batch * recomputes


def with_prior(space: Space, *, left_out: int = 0, has_rates: bool = True, factor: float = 1.0) -> Space:
    known = {tuple(c.settings[name] for name in KNOBS): c for c in space.candidates()}
    predicted = [
        Predicted(
            settings=dict(zip(KNOBS, settings, strict=True)),
            peak_memory_bytes=int(factor * peak_bytes(c)),
            kernel_seconds=seconds(c)[0],
            host_seconds=seconds(c)[1],
            optimizer_seconds=0.01,
        )
        for settings, c in known.items()
    ]
    prior = Prior(
        knobs=KNOBS,
        predicted=tuple(predicted[: len(predicted) - left_out]),
        runs_ahead=False,
        has_rates=has_rates,
        seconds=1.0,
    )
    return space.model_copy(update={"prior": prior, "device": DEVICE})


def row(encoding: Encoding, **settings: object) -> int:
    number = encoding.number(encoding.space.base.replace(**settings))  # type: ignore[arg-type]
    assert number is not None
    return number


def test_knobs_that_are_in_no_trace_share_a_prediction(space):
    encoding = Encoding(with_prior(space))
    found = predictions(encoding)
    assert found.is_complete
    assert (
        found.peak_bytes[row(encoding, optim="adamw_torch")]
        == found.peak_bytes[row(encoding, optim="adamw_torch_fused")]
    )
    for number in range(len(encoding)):
        assert found.peak_bytes[number] == peak_bytes(encoding.candidate(number))
    assert predictions(Encoding(space)) is None


def test_what_was_not_traced_has_its_neighbours_peak_and_no_seconds_are_believed(space, trial):
    encoding = Encoding(with_prior(space, left_out=1))
    found = predictions(encoding)
    assert not found.is_complete
    missing = row(encoding, per_device_train_batch_size=16, precision="bf16", activation_checkpointing=True)
    neighbours = {peak_bytes(encoding.candidate(n)) for n in range(len(encoding))
                  if encoding.candidate(n).micro_batch == 16}  # fmt: skip
    assert found.peak_bytes[missing] in neighbours
    trials = [trial(0, encoding.space.base, seconds=1.0)]
    observations = observe(encoding, trials, Objective.SAMPLES_PER_SECOND)
    assert TimeModel(encoding, observations, predictions(encoding))._traced is None


def test_before_any_trial_the_search_knows_what_fits(space):
    limited = with_prior(space).model_copy(update={"memory_limit_bytes": 1200 * MIB})
    encoding = Encoding(limited)
    fit = MemoryModel(encoding, [], predictions(encoding)).fit_probability()
    assert fit[row(encoding, per_device_train_batch_size=1)] > 0.95
    assert fit[row(encoding, per_device_train_batch_size=16)] < 0.1
    assert fit[row(encoding, per_device_train_batch_size=16, activation_checkpointing=True)] > 0.4
    assert np.all(MemoryModel(Encoding(space), []).fit_probability() == 0.5), "without a prior nothing is known"


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_the_first_measurement_corrects_a_prediction_that_is_off(space, trial, factor):
    encoding = Encoding(with_prior(space, factor=factor))
    base = encoding.space.base
    before = MemoryModel(encoding, [], predictions(encoding)).peak_bytes()[0]
    after = MemoryModel(encoding, [trial(0, base, peak_bytes=peak_bytes(base))], predictions(encoding)).peak_bytes()[0]
    truth = np.array([peak_bytes(encoding.candidate(number)) for number in range(len(encoding))])
    assert np.median(np.abs(after / truth - 1)) < 0.5 * np.median(np.abs(before / truth - 1))


def test_after_an_oom_the_next_trial_is_the_largest_that_is_predicted_to_fit(space, trial):
    limited = with_prior(space).model_copy(update={"memory_limit_bytes": 780 * MIB, "headroom": 0.0})
    failed = trial(0, limited.base, outcome=Outcome.OUT_OF_MEMORY)
    chosen = ModelSearch().propose(limited, [failed], Objective.SAMPLES_PER_SECOND)
    assert chosen is not None
    assert peak_bytes(chosen) <= 780 * MIB
    blind = ModelSearch().propose(limited.model_copy(update={"prior": None}), [failed], Objective.SAMPLES_PER_SECOND)
    assert blind is not None
    assert chosen != blind or chosen.micro_batch == blind.micro_batch == 1


def test_seconds_of_a_trace_order_the_candidates_after_one_trial(space, trial):
    traced = with_prior(space)
    encoding, base = Encoding(traced), traced.base
    first = trial(0, base, seconds=sum(seconds(base)), optimizer_share=0.01)
    observations = observe(encoding, [first], Objective.SAMPLES_PER_SECOND)
    mean, _ = TimeModel(encoding, observations, predictions(encoding)).mean_log_seconds(np.arange(len(encoding)))
    truth = [sum(seconds(encoding.candidate(number))) for number in range(len(encoding))]
    assert np.corrcoef(mean, np.log(truth))[0, 1] > 0.85
    blind = Encoding(space.model_copy(update={"device": DEVICE}))
    untold, _ = TimeModel(blind, observations, predictions(blind)).mean_log_seconds(np.arange(len(encoding)))
    assert np.corrcoef(untold, np.log(truth))[0, 1] < np.corrcoef(mean, np.log(truth))[0, 1]
