"""Which variants are worth a trace, and which comes first, by device, memory and objective."""

import pytest

from perftune.planning.variants import VariantKey
from perftune.records.candidate import Space
from perftune.records.device import Device
from perftune.records.prior import Predicted
from perftune.records.probe import Objective, Target
from perftune.records.survey import Survey
from perftune.search import build_space
from perftune.search.space import SLOW_HALF
from perftune.tuning.worth_tracing import TIGHT, worth_tracing
from perftune.units import GIB
from tests.tuning.scripted import probe, survey

OWN = VariantKey(False, False, "sdpa", False)
HALF, SAVING, EAGER = OWN._replace(is_half=True), OWN._replace(checkpointing=True), OWN._replace(attention="eager")
ALL = [OWN, HALF, SAVING, EAGER, HALF._replace(checkpointing=True), HALF._replace(attention="eager")]
FAST, SLOW = {"fp32": 1e11, "bf16": 2e11}, {"fp32": 1e11, "bf16": 1e11 / SLOW_HALF / 1.01}


def told_of(**changes: object) -> Survey:
    """With both attentions."""
    return survey(supported={**survey().supported, "attn_implementation": ("sdpa", "eager")}, **changes)


def space_of(told: Survey, **base: object) -> Space:
    found = build_space(probe(target=Target(memory_bytes=4 * GIB, headroom=0.0)), told)
    return found.model_copy(update={"base": found.base.replace(**base)}) if base else found  # type: ignore[arg-type]


def of_peak(num_bytes: float, **settings: object) -> Predicted:
    return Predicted(settings=settings, peak_memory_bytes=int(num_bytes))  # type: ignore[arg-type]


def ordered(
    rates: dict[str, float],
    own: list[Predicted] | None = None,
    objective: Objective = Objective.SAMPLES_PER_SECOND,
    **base: object,
) -> tuple[VariantKey, ...]:
    told = told_of(flops_per_second=rates)
    return worth_tracing(ALL, space_of(told, **base), told, objective, own or []).order


def test_half_precision_comes_second_where_it_may_be_fast_and_not_at_all_where_it_is_slow() -> None:
    assert ordered(FAST)[:3] == (OWN, HALF, EAGER)
    assert ordered({})[:2] == (OWN, HALF), "where nothing was measured it may be fast"
    assert ordered(SLOW) == (OWN, EAGER, SAVING)
    assert ordered({"fp32": 1e11, "bf16": 1e11 / SLOW_HALF * 1.01})[1] == HALF


def test_the_users_own_precision_is_traced_however_slow_it_is() -> None:
    assert ordered(SLOW, precision="bf16")[0] == HALF


@pytest.mark.parametrize(("peak", "is_tight"), [(1.01 * TIGHT * 4 * GIB, True), (0.99 * TIGHT * 4 * GIB, False)])
def test_checkpointing_is_traced_where_the_largest_micro_batch_comes_near_the_limit(
    peak: float, is_tight: bool
) -> None:
    own = [of_peak(GIB, per_device_train_batch_size=8), of_peak(peak, per_device_train_batch_size=32)]
    assert (SAVING in ordered(FAST, own)) == is_tight
    assert (HALF._replace(checkpointing=True) in ordered(FAST, own)) == is_tight
    assert SAVING in ordered(FAST, own, activation_checkpointing=True), "it is the user's own"


def test_checkpointing_comes_first_where_the_users_own_does_not_fit() -> None:
    own = [of_peak(4.1 * GIB, per_device_train_batch_size=8), of_peak(3 * GIB, per_device_train_batch_size=1)]
    assert ordered(FAST, own)[:3] == (OWN, SAVING, HALF)
    assert ordered(FAST, [of_peak(3.9 * GIB, per_device_train_batch_size=8)])[1] == HALF


def test_where_memory_is_the_objective_checkpointing_is_never_left_out() -> None:
    own = [of_peak(GIB, per_device_train_batch_size=8)]
    assert ordered(FAST, own, Objective.PEAK_MEMORY)[:2] == (OWN, SAVING)


def test_what_is_left_out_has_a_reason() -> None:
    told = told_of(flops_per_second=SLOW)
    found = worth_tracing(ALL, space_of(told), told, Objective.SAMPLES_PER_SECOND, [of_peak(GIB)])
    assert set(found.order) | found.left_out.keys() == set(ALL)
    assert "multiplies 3 times slower" in found.left_out[HALF]
    assert "need 1.00 GiB of the 4.00 GiB" in found.left_out[SAVING]


def test_a_gpus_half_precision_is_not_judged_by_the_rates_of_a_cpu() -> None:
    told = told_of(flops_per_second=SLOW, device=Device(kind="cuda", name="T4", memory_bytes=16 * GIB))
    own, half = (VariantKey(is_half, False, "sdpa", True) for is_half in (False, True))
    found = worth_tracing([own, half], space_of(told), told, Objective.SAMPLES_PER_SECOND)
    assert found.order == (own, half)
