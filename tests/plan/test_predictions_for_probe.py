"""What the search is told before any trial, from a step made by hand: bytes and seconds grow as they should."""

import pytest

from perftune.catalogue import load_catalogue
from perftune.plan import Setup, predict_on_cpu, predict_on_gpu
from perftune.plan.cpu_prediction import BYTES_PER_SECOND, OP_SECONDS, PROCESS_BYTES
from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH, OPTIMIZER, PRECISION, Candidate
from tests.plan.test_estimate import with_work
from tests.plan.traces import PARAMETERS

H100 = load_catalogue()["h100-80gb-sxm"]
SETUP = Setup(global_batch_size=16)
RATES = {"fp32": 1e11, "bf16": 4e11}


def candidate(micro_batch: int, precision: str = "fp32") -> Candidate:
    return Candidate(
        settings={
            MICRO_BATCH: micro_batch,
            PRECISION: precision,
            CHECKPOINTING: False,
            OPTIMIZER: "adamw_torch",
        }
    )


def test_the_arithmetic_of_a_step_does_not_depend_on_the_micro_batch_and_its_launches_do() -> None:
    variant = with_work("fp32", 1e9)
    small, large = (predict_on_cpu(variant, candidate(size), SETUP, RATES) for size in (2, 8))
    assert small.kernel_seconds is not None
    moved = sum(2 * (100.0 * 2 + number) for number in range(2))  # by the two operators of a micro-step of two
    products = 2 * 1e9 * 16 / RATES["fp32"]
    assert small.kernel_seconds == pytest.approx(products + 8 * moved / BYTES_PER_SECOND, rel=1e-6)
    assert large.kernel_seconds == pytest.approx(small.kernel_seconds, rel=1e-3)
    assert small.host_seconds == pytest.approx(8 * 2 * OP_SECONDS)
    assert large.host_seconds == pytest.approx(2 * 2 * OP_SECONDS)
    assert large.peak_memory_bytes > small.peak_memory_bytes > PROCESS_BYTES + sum(PARAMETERS)


def test_half_precision_runs_at_its_own_measured_rate_and_without_one_at_the_same() -> None:
    full, half = with_work("fp32", 1e9), with_work("bf16", 1e9)
    told = [predict_on_cpu(variant, candidate(4), SETUP, RATES).kernel_seconds for variant in (full, half)]
    untold = [predict_on_cpu(variant, candidate(4), SETUP, {}).kernel_seconds for variant in (full, half)]
    assert told[0] is not None
    assert told[1] is not None
    assert told[0] / told[1] == pytest.approx(4, rel=1e-3)
    assert untold[0] == untold[1]


def test_on_a_gpu_of_the_catalogue_seconds_are_those_of_its_roofline_and_of_another_none_are_known() -> None:
    variant = with_work("bf16", 1e12)
    known = predict_on_gpu(variant, H100, candidate(4, "bf16"), SETUP)
    unknown = predict_on_gpu(variant, None, candidate(4, "bf16"), SETUP)
    assert known.kernel_seconds is not None
    work = 2 * 1e12 * 16
    assert work / H100.peak_flops["bf16"] < known.kernel_seconds < 4 * work / H100.peak_flops["bf16"]
    assert unknown.kernel_seconds is None
    assert unknown.peak_memory_bytes > sum(PARAMETERS)


def test_what_was_not_traced_is_not_predicted() -> None:
    other = candidate(4).replace(**{OPTIMIZER: "adafactor"})
    for predict in (
        lambda: predict_on_cpu(with_work("fp32", 1e9), other, SETUP, RATES),
        lambda: predict_on_gpu(with_work("fp32", 1e9), H100, other, SETUP),
    ):
        with pytest.raises(KeyError):
            predict()
