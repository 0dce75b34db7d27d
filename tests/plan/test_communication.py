"""What links cost, against sums worked by hand: 4 GPUs, gradients of 4 GB, parameters of 8 GB, links of 1 GB/s."""

import pytest

from perftune.catalogue import load_catalogue
from perftune.plan.calibration import COLLECTIVE_SECONDS, LINK_EFFICIENCY, OVERLAP
from perftune.plan.communication import communication_seconds
from perftune.plan.roofline import Seconds
from perftune.plan.sharding import SHARDINGS
from perftune.records.gpu import Gpu
from perftune.records.trace import Trace
from tests.plan.traces import step, trace

A100 = load_catalogue()["a100-80gb-sxm"]
GB = 10**9
MODULES = ("", "embed", "layers.0", "layers.0.mlp", "layers.1.mlp", "head")
"""Three units: two blocks, and what is outside of them."""


def linked(bytes_per_second: float) -> Gpu:
    """A GPU whose collectives reach so much."""
    assert A100.link is not None
    link = A100.link.model_copy(update={"bytes_per_second": bytes_per_second / LINK_EFFICIENCY})
    return A100.model_copy(update={"link": link})


def traced(parameter_bytes: tuple[int, ...], trainable_bytes: int, gradients: tuple[int, ...]) -> Trace:
    made = step(2)
    tape = made.tape.model_copy(update={"modules": MODULES, "gradients": gradients})
    changes = {"parameter_bytes": parameter_bytes, "trainable_bytes": trainable_bytes}
    return trace(made.model_copy(update={"tape": tape})).model_copy(update=changes)


def added(name: str, computing: Seconds, *, num_micro: int = 1, num_devices: int = 4) -> float:
    made = traced((6 * GB, 2 * GB), 4 * GB, (3, 4))
    return communication_seconds(SHARDINGS[name], made, linked(GB), num_devices, num_micro, computing)


LONG, SHORT, NONE = Seconds(1000.0, 0.0), Seconds(2.0, 0.0), Seconds(0.0, 0.0)


def test_the_part_that_overlaps_is_what_the_sums_below_take_it_for() -> None:
    assert OVERLAP == 0.7


@pytest.mark.parametrize(
    ("name", "num_micro", "computing", "seconds"),
    [
        # An all-reduce of 4 GB over 4 GPUs sends 2 × 4 × 3/4 = 6 GB, once a step however many micro-steps it has.
        ("ddp", 1, LONG, 6 * 0.3),
        ("ddp", 3, LONG, 6 * 0.3),
        ("ddp", 1, SHORT, 6 - 2 * 0.7),
        ("zero2", 3, SHORT, 6 - 2 * 0.7),
        # The first stage sends as much, beside nothing.
        ("zero1", 1, LONG, 6),
        ("zero1", 3, SHORT, 6),
        # Two gathers of 8 GB and a scatter of 4 GB in every micro-step and 4 GB more: (16 + 4 + 4) × 3/4 = 18 GB, and
        # with three micro-steps (48 + 12 + 4) × 3/4 = 48 GB.
        ("zero3", 1, LONG, 18 * 0.3),
        ("zero3", 3, LONG, 48 * 0.3),
        ("fsdp", 3, SHORT, 48 - 2 * 0.7),
    ],
)
def test_seconds_by_hand(name: str, num_micro: int, computing: Seconds, seconds: float) -> None:
    # Units: 3 of them, gathered twice and scattered once; asking for it is hidden where the GPU computes for longer.
    asking = 9 * num_micro * COLLECTIVE_SECONDS if name in {"zero3", "fsdp"} else 0.0
    shown = max(asking - computing.kernels, 0.0)
    assert added(name, computing, num_micro=num_micro) == pytest.approx(seconds + shown, rel=1e-12)


@pytest.mark.parametrize(("num_devices", "sent_gb"), [(2, 4.0), (4, 6.0), (8, 7.0)])
def test_each_of_more_gpus_sends_more_but_less_than_twice_the_gradients(num_devices: int, sent_gb: float) -> None:
    assert added("zero1", NONE, num_devices=num_devices) == pytest.approx(sent_gb, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "num_micro", "gradients", "num_collectives"),
    [
        ("none", 2, (3, 4, 5), 0),
        ("ddp", 2, (3, 4, 5), 0),
        ("zero1", 2, (3, 4, 5), 0),
        ("zero2", 2, (3, 4, 5), 0),
        # Two blocks and the rest, gathered twice and scattered once.
        ("zero3", 1, (3, 4, 5), 3 * 3),
        ("fsdp", 1, (3, 4, 5), 3 * 3),
        ("fsdp", 4, (3, 4, 5), 3 * 3 * 4),
        # Of three tensors two are trained: each of them is a unit of its own.
        ("fsdp", 1, (3, 4), (3 + 2) * 3),
        ("fsdp", 2, (3,), (3 + 1) * 3 * 2),
    ],
)
def test_the_host_asks_for_every_collective(
    name: str, num_micro: int, gradients: tuple[int, ...], num_collectives: int
) -> None:
    """The host has more to do than the GPU, and nothing is sent."""
    made = traced((0, 0, 0), 0, gradients)
    seconds = communication_seconds(SHARDINGS[name], made, linked(GB), 4, num_micro, Seconds(0.0, 1.0))
    assert seconds == pytest.approx(num_collectives * COLLECTIVE_SECONDS, rel=1e-12)


def test_asking_is_hidden_where_the_gpu_is_longer_and_shown_where_it_waits() -> None:
    made = traced((0, 0, 0), 0, (3, 4, 5))
    asking = 9 * COLLECTIVE_SECONDS
    for computing, shown in (
        (Seconds(1.0, 0.0), 0.0),
        (Seconds(1.0, 1.0), asking),
        (Seconds(1.0, 1.0 - asking / 4), asking * 3 / 4),
    ):
        seconds = communication_seconds(SHARDINGS["fsdp"], made, linked(GB), 4, 1, computing)
        assert seconds == pytest.approx(shown, abs=1e-9)


def test_one_gpu_and_an_unknown_link_add_nothing() -> None:
    apart = A100.model_copy(update={"link": None})
    for gpu, count in ((A100, 1), (apart, 4)):
        assert communication_seconds(SHARDINGS["fsdp"], trace(step(2)), gpu, count, 1, Seconds(0.1, 1.0)) == 0
