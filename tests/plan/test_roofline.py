"""Rates of products: which peak and which efficiency a number format has."""

import pytest

from perftune.devices.catalogue import load_catalogue
from perftune.plan.calibration import EFFICIENCY, KERNEL_SECONDS
from perftune.plan.roofline import Roofline
from perftune.plan.tapes import constant
from perftune.records.trace import Ops, Tape

CATALOGUE = load_catalogue()
FLOPS = 1e18
"""So many that arithmetic decides, and unfilled tiles do not."""


def product_seconds(gpu: str, dtype: str) -> float:
    ops = Ops(names=("product",), name=(0,), dtype=(dtype,), flops=(FLOPS,), num_bytes=(1.0,))
    spent = Roofline(CATALOGUE[gpu], "fp16").seconds(constant(Tape(ops=ops)), 1, 0, 1, 0.0)
    return spent.kernels - KERNEL_SECONDS


@pytest.mark.parametrize("gpu", ["a100-80gb-sxm", "l4-24gb", "t4-16gb"])
def test_products_of_integers_run_at_their_own_peak_with_the_efficiency_of_fp16(gpu: str) -> None:
    row = CATALOGUE[gpu]
    rate = row.peak_flops["int8"] * EFFICIENCY[row.architecture].matmul["fp16"]
    assert product_seconds(gpu, "int8") == pytest.approx(FLOPS / rate, rel=1e-4)
    assert product_seconds(gpu, "int8") == pytest.approx(product_seconds(gpu, "fp16") / 2, rel=0.01)


def test_where_their_peak_is_not_known_they_are_as_fast_as_fp16() -> None:
    assert product_seconds("a10g-24gb", "int8") == product_seconds("a10g-24gb", "fp16")
