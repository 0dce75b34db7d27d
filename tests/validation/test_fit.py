"""A fit finds constants that it was not told, weighs sources alike, and does as `perftune plan` does."""

from dataclasses import fields, replace

import numpy as np
import pytest

from benchmarks.validation.fit import (
    PRIORS,
    Observed,
    errors,
    fit,
    generation_of,
    observed,
    predicted_rate,
    report,
    source_of,
    with_and_without,
)
from benchmarks.validation.rows import load_rows, usable
from perftune.catalogue import load_catalogue
from perftune.plan import Setup, estimate
from perftune.plan.calibration import TIME, TimeConstants
from perftune.plan.roofline import MicroStep
from perftune.plan.tapes import Work
from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH, OPTIMIZER, PRECISION, Candidate
from tests.plan.test_estimate import with_work

GPUS = load_catalogue()
LIKELY = TimeConstants(**{name: prior.value for name, prior in PRIORS.items()})
KINDS = [("mm", "bf16"), ("add", "bf16"), ("flash_attention", "bf16")]


def work(size: float, num_ops: int) -> Work:
    """Products, additions and attention in turns."""
    kind = np.arange(num_ops) % 3
    return Work(
        flops=np.choose(kind, [1e10 * size, 0.0, 2e9 * size]),
        num_bytes=np.choose(kind, [2e7 * size, 6e7 * size, 2e7 * size]),
        kinds=KINDS,
        kind_of_op=kind,
        times=np.ones(num_ops),
    )


def row(source: str, gpu: str, size: float, constants: TimeConstants) -> Observed:
    """What would be measured if these were the constants."""
    step = MicroStep(work(size, 300), work(2 * size, 600))
    made = Observed(f"{source}-{size}", source, GPUS[gpu], "bf16", ((step, 1), (step, 3)), work(1, 30), 8, 1.0)
    return made._replace(samples_per_second=predicted_rate(made, constants))


def rows(constants: TimeConstants) -> list[Observed]:
    of = {"a": "a100-80gb-sxm", "b": "h100-80gb-sxm", "c": "l4-24gb"}
    return [row(source, gpu, size, constants) for source, gpu in of.items() for size in (0.01, 0.1, 1, 5, 30)]


def test_every_constant_has_a_prior_and_the_shipped_ones_are_near_it():
    assert set(PRIORS) == {field.name for field in fields(TimeConstants)}
    away = {name: abs(np.log(getattr(TIME, name) / prior.value)) / prior.spread for name, prior in PRIORS.items()}
    assert max(away.values()) < 3


def test_constants_are_found_that_it_was_not_told():
    real = replace(LIKELY, joules_per_flop=2.2e-12, bandwidth_part=0.7, host_forward_seconds=65e-6)
    measured = rows(real)
    before, after = (np.abs(errors(measured, constants)) for constants in (LIKELY, fit(measured)))
    assert np.max(before) > 0.25
    assert np.max(after) < 0.05


def test_without_a_reason_constants_stay_where_they_are_likely():
    found = fit(rows(LIKELY))
    assert [getattr(found, name) for name in PRIORS] == pytest.approx([prior.value for prior in PRIORS.values()])


def test_a_source_counts_as_much_as_another_whatever_its_rows():
    quick, slow = (row(name, "a100-80gb-sxm", 5, LIKELY) for name in ("quick", "slow"))
    slow = slow._replace(samples_per_second=slow.samples_per_second * 0.8)
    few, many = fit([quick, slow]), fit([quick, *[slow] * 20])
    assert [getattr(many, name) for name in PRIORS] == pytest.approx([getattr(few, name) for name in PRIORS], rel=1e-3)


def test_one_wrong_row_does_not_decide():
    measured = rows(LIKELY)
    wrong = measured[-1]._replace(samples_per_second=measured[-1].samples_per_second * 10)
    found = fit([*measured[:-1], wrong])
    assert np.median(np.abs(errors(measured[:-1], found))) < 0.02


def test_a_source_that_is_left_out_is_not_fitted_to():
    measured = rows(LIKELY)
    shifted = [one._replace(samples_per_second=one.samples_per_second * 0.7) for one in measured if one.source == "c"]
    found = with_and_without([*measured[:10], *shifted], source_of)
    name, own, without = found[-1]
    assert (name, own.num) == ("c", 5)
    assert without.median == pytest.approx(1 / 0.7 - 1, rel=1e-3)
    assert own.median < without.median


def test_the_report_names_every_constant_and_generation():
    measured = rows(LIKELY)
    said = report(measured)
    assert all(f"| {name} |" in said for name in PRIORS)
    assert all(f"| {generation_of(one)} |" in said for one in measured)


def test_a_rate_is_that_of_the_plan():
    published = next(one for one in load_rows() if usable(one) and one["throughput"] and one["accumulation"] == 4)
    published = published | {"micro_batch": 4, "optimizer": "adamw_torch", "amp": "bf16", "seq_len": 1}
    variant, gpu = with_work("bf16", 1e12), GPUS["a100-80gb-sxm"]
    mine = predicted_rate(observed(published, variant, gpu), TIME)
    settings = {MICRO_BATCH: 4, PRECISION: "bf16", CHECKPOINTING: False, OPTIMIZER: "adamw_torch"}
    plan = estimate(variant, gpu, Candidate(settings=settings), Setup(global_batch_size=16)).time
    assert plan is not None
    assert mine == pytest.approx(plan.samples_per_second)
