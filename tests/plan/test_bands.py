"""Bands are wider where nothing was validated, and say for what."""

import pytest

from perftune.catalogue import load_catalogue
from perftune.plan.bands import COVERED, MEMORY, TIME, memory_band, time_band
from perftune.plan.sharding import SHARDINGS
from perftune.records.gpu import Gpu

GPUS = load_catalogue()
H100, B200, MI300X = GPUS["h100-80gb-sxm"], GPUS["b200-180gb-sxm"], GPUS["mi300x-192gb"]


@pytest.mark.parametrize(
    ("gpu", "number_format", "outside"),
    [
        (H100, "bf16", ()),
        (H100, "fp16", ()),
        (H100, "fp32", ("in fp32 on Hopper",)),
        (H100, "tf32", ("in TF32 on Hopper",)),
        (GPUS["v100-16gb-sxm"], "fp32", ()),
        (B200, "tf32", ("on Blackwell",)),
        (MI300X, "bf16", ("on CDNA3",)),
    ],
)
def test_speed_is_less_sure_where_nothing_was_measured(gpu: Gpu, number_format: str, outside: tuple[str, ...]) -> None:
    band = time_band(gpu, number_format, "none")
    assert band.outside == outside
    assert band.part == (TIME["one GPU"].outside if outside else TIME["one GPU"].inside)


def test_memory_is_less_sure_on_new_generations_and_shardings() -> None:
    assert memory_band(H100, "none").part == MEMORY["one GPU"].inside
    assert memory_band(B200, "none") == (MEMORY["one GPU"].outside, ("on Blackwell",))
    assert memory_band(B200, "zero2").outside == ("on Blackwell", "with zero2")


def test_several_gpus_are_less_sure_than_one_and_outside_less_than_inside() -> None:
    for parts in (MEMORY, TIME):
        assert all(inside <= outside for inside, outside in parts.values())
    for sharding in SHARDINGS.keys() - {"none"}:
        assert memory_band(H100, sharding).part > memory_band(H100, "none").part
        assert time_band(H100, "bf16", sharding).part > time_band(H100, "bf16", "none").part


def test_generations_that_are_covered_are_in_the_catalogue() -> None:
    assert set(COVERED) <= {gpu.architecture for gpu in GPUS.values()}
