"""What is said of a variant that was not traced follows from the nearest that was."""

import pytest

from perftune.planning.variants import VariantKey
from perftune.records.device import Device
from perftune.records.prior import Predicted
from perftune.search import build_space
from perftune.tuning.predictor import RECOMPUTED, SAVED, Predictor, in_precision
from perftune.units import GIB
from tests.plan.test_estimate import with_work
from tests.tuning.scripted import probe, survey

KNOBS = ("per_device_train_batch_size", "precision", "activation_checkpointing", "optim")
FULL = VariantKey(False, False, None, False)
HALF, SAVING = FULL._replace(is_half=True), FULL._replace(checkpointing=True)
RATES = {"fp32": 1e11, "bf16": 4e11}
CPU = survey().device
H100 = Device(kind="cuda", name="NVIDIA H100 80GB HBM3", memory_bytes=80 * GIB, compute_capability=(9, 0))
BASE = build_space(probe(), survey()).base.replace(optim="adamw_torch")


def predictor(device: Device = CPU) -> Predictor:
    return Predictor(probe(), survey(device=device, flops_per_second=RATES), KNOBS)


def other(wanted: VariantKey, traced: dict[VariantKey, str], device: Device = CPU) -> Predicted:
    """Of the user's own candidate, as of another variant; by the dtype of products in those that were traced."""
    variants = {key: with_work(dtype, 1e12) for key, dtype in traced.items()}
    candidate = BASE.replace(precision="bf16" if wanted.is_half else "fp32")
    (found,) = predictor(device).of_others(wanted, [candidate], variants)
    return found


def own(key: VariantKey, dtype: str, device: Device = CPU) -> Predicted:
    candidate = BASE.replace(precision="bf16" if key.is_half else "fp32")
    (found,) = predictor(device).of_traced(with_work(dtype, 1e12), [candidate])
    return found


@pytest.mark.parametrize("device", [CPU, H100], ids=["cpu", "gpu"])
@pytest.mark.parametrize(
    ("known", "dtype", "wanted", "meant"), [(FULL, "fp32", HALF, "bf16"), (HALF, "bf16", FULL, "fp32")]
)
def test_products_run_in_the_precision_that_is_wanted(
    device: Device, known: VariantKey, dtype: str, wanted: VariantKey, meant: str
) -> None:
    found, traced = other(wanted, {known: dtype}, device), own(wanted, meant, device)
    assert found.kernel_seconds == pytest.approx(traced.kernel_seconds)
    assert found.kernel_seconds != pytest.approx(own(known, dtype, device).kernel_seconds, rel=0.5)
    assert (found.is_traced, traced.is_traced) == (False, True)


def test_checkpointing_repeats_the_forward_pass_and_spares_memory() -> None:
    plain, saving = own(FULL, "fp32"), other(SAVING, {FULL: "fp32"})
    assert plain.kernel_seconds is not None
    assert plain.host_seconds is not None
    assert saving.kernel_seconds == pytest.approx(plain.kernel_seconds * RECOMPUTED)
    assert saving.host_seconds == pytest.approx(plain.host_seconds * RECOMPUTED)
    assert saving.peak_memory_bytes == pytest.approx(plain.peak_memory_bytes * SAVED)
    assert saving.optimizer_seconds == plain.optimizer_seconds


def test_without_checkpointing_it_is_the_other_way() -> None:
    saving, plain = own(SAVING, "fp32"), other(FULL, {SAVING: "fp32"})
    assert saving.kernel_seconds is not None
    assert plain.kernel_seconds == pytest.approx(saving.kernel_seconds / RECOMPUTED)
    assert plain.peak_memory_bytes == pytest.approx(saving.peak_memory_bytes / SAVED)


def test_the_nearest_has_the_same_checkpointing() -> None:
    both = HALF._replace(checkpointing=True)
    found = other(both, {FULL: "fp32", HALF: "bf16", SAVING: "fp32"})
    assert found.peak_memory_bytes == own(SAVING, "fp32").peak_memory_bytes
    assert found.kernel_seconds == pytest.approx(own(HALF, "bf16").kernel_seconds)


def test_a_gpu_without_a_row_has_peaks_and_no_seconds() -> None:
    found = other(SAVING, {FULL: "fp32"}, H100.model_copy(update={"name": "GTX 1650"}))
    assert found.kernel_seconds is None
    assert found.peak_memory_bytes > 0


def test_what_is_not_a_product_keeps_its_dtype() -> None:
    variant = with_work("fp32", 0.0)
    assert in_precision(variant, half=True).trace == variant.trace
    whole = with_work("int8", 1e9)
    assert in_precision(whole, half=True).trace == in_precision(whole, half=False).trace == whole.trace


def test_an_optimizer_that_was_not_traced_is_not_predicted() -> None:
    candidate = BASE.replace(optim="adamw_bnb_8bit")
    variant = with_work("fp32", 1e9)
    assert predictor().of_traced(variant, [candidate]) == []
    assert predictor().of_others(SAVING, [candidate], {FULL: variant}) == []
