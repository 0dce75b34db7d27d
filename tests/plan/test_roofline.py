"""Rates of kernels follow from data sheets and a few constants: power, number formats, sizes, and the host."""

from dataclasses import replace

import numpy as np
import pytest

from perftune.catalogue import load_catalogue
from perftune.plan.calibration import TIME, joules_per_flop
from perftune.plan.roofline import Roofline, Seconds
from perftune.plan.tapes import Work
from perftune.records.gpu import Gpu

GPUS = load_catalogue()
A100, T4 = GPUS["a100-80gb-sxm"], GPUS["t4-16gb"]
BARE = replace(TIME, kernel_seconds=0.0, tile_flops=0.0)


def work(flops: float, num_bytes: float = 0.0, dtype: str = "bf16", name: str = "mm", num_ops: int = 1) -> Work:
    column = np.ones(num_ops)
    return Work(flops * column, num_bytes * column, [(name, dtype)], np.zeros(num_ops, dtype=np.int64), column)


def rate(gpu: Gpu, precision: str, dtype: str = "bf16", name: str = "mm") -> float:
    """FLOP/s of a product without end."""
    return 1e15 / Roofline(gpu, precision, BARE).forward(work(1e15, dtype=dtype, name=name)).kernels


def watts(gpu: Gpu, number: int) -> Gpu:
    return gpu.model_copy(update={"tdp_watts": number})


def test_with_power_enough_a_product_runs_at_a_part_of_the_peak():
    strong = watts(A100, 4000)
    assert rate(strong, "bf16") == pytest.approx(TIME.peak_part * 312e12)
    assert rate(strong, "tf32", "fp32") == pytest.approx(TIME.peak_part * 156e12)
    assert rate(strong, "fp32", "fp32") == pytest.approx(TIME.peak_part * 19.5e12)


def test_short_of_power_half_of_it_gives_half_the_rate():
    other = TIME.other_watts
    full, half = (rate(watts(A100, round(number + other)), "bf16") for number in (200, 100))
    assert full / half == pytest.approx(2, rel=0.02)
    assert full * joules_per_flop(TIME, "ampere", "bf16") == pytest.approx(200, rel=0.02)


def test_a_t4_reaches_less_of_its_peak_than_a_v100():
    t4, v100 = rate(T4, "fp16") / 65e12, rate(GPUS["v100-32gb-sxm"], "fp16") / 125e12
    assert t4 < 0.75 * v100


def test_energy_falls_with_the_process_and_a_new_generation_has_the_newest():
    energies = [joules_per_flop(TIME, name, "bf16") for name in ("turing", "ampere", "hopper", "blackwell")]
    assert energies == sorted(energies, reverse=True)
    assert joules_per_flop(TIME, "rubin", "bf16") == energies[-1]


def test_what_a_gpu_has_no_cores_for_runs_in_fp32():
    assert rate(T4, "bf16") == rate(T4, "fp32", "fp32")
    assert Roofline(T4, "bf16").peak_flops("bf16") == 8.1e12
    assert Roofline(T4, "fp16").peak_flops("bf16") == 65e12


@pytest.mark.parametrize("gpu", ["a100-80gb-sxm", "l4-24gb", "t4-16gb"])
def test_products_of_integers_are_twice_as_fast_as_those_in_fp16(gpu: str):
    assert rate(GPUS[gpu], "fp16", "int8") == pytest.approx(2 * rate(GPUS[gpu], "fp16", "fp16"), rel=0.01)


def test_where_the_peak_of_integers_is_not_known_they_are_as_fast_as_fp16():
    a10g = watts(GPUS["a10g-24gb"], 4000)
    assert rate(a10g, "fp16", "int8") == rate(a10g, "fp16", "fp16")


def test_attention_is_slower_than_products():
    assert rate(A100, "bf16", name="flash_attention") == pytest.approx(TIME.attention_part * rate(A100, "bf16"))


def test_bandwidth_is_shared_by_multiprocessors():
    def reached(gpu: Gpu) -> float:
        return 1e12 / Roofline(gpu, "bf16", BARE).forward(work(0.0, 1e12)).kernels

    h100, h200 = GPUS["h100-80gb-sxm"], GPUS["h200-141gb-sxm"]
    assert 1.1 < reached(h200) / reached(h100) < 4.8 / 3.35
    assert reached(h100.model_copy(update={"num_sms": 10**6})) == pytest.approx(3.35e12 * TIME.bandwidth_part, rel=1e-3)


def test_a_kernel_is_bound_by_the_slower_of_the_two_and_has_a_fixed_time():
    roofline = Roofline(A100, "bf16")
    computing, moving, both = (roofline.forward(work(*what)).kernels for what in ((1e12, 0), (0, 1e10), (1e12, 1e10)))
    assert both == max(computing, moving)
    assert roofline.forward(work(0.0, 0.0)).kernels == TIME.kernel_seconds


def test_the_host_launches_each_operator():
    roofline, many = Roofline(A100, "bf16"), work(0.0, 0.0, num_ops=1000)
    assert roofline.forward(many).host == pytest.approx(1000 * TIME.host_forward_seconds)
    assert roofline.backward(many).host == pytest.approx(1000 * TIME.host_backward_seconds)
    assert roofline.optimizer(many).host == pytest.approx(1000 * TIME.host_backward_seconds + TIME.step_seconds)
    assert Seconds(1.0, 3.0).total == 3.0


def test_operators_that_are_alike_count_as_often_as_they_are_there():
    kinds, kind = [("mm", "bf16"), ("add", "fp32")], np.array([0, 1, 0, 1, 0])
    many = Work(np.array([1e12, 0, 1e12, 0, 3e12]), np.full(5, 1e9), kinds, kind, np.ones(5))
    once = many.alike_once()
    assert sorted(once.times) == [1, 2, 2]
    roofline = Roofline(A100, "bf16")
    assert roofline.forward(once).kernels == pytest.approx(roofline.forward(many).kernels)
    assert roofline.forward(once).host == pytest.approx(roofline.forward(many).host)
