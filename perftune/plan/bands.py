"""How far off a prediction may be, by kind of setting, and how a setting is unlike all that was validated.

A band is the part within which nine of ten predictions lie of what was measured, rounded up to 5 %, from the rows of
`benchmarks/validation/README.md`, where each is checked. Full training, LoRA and quantised bases, and the kernels of
attention have errors alike there, and so no bands of their own.
"""

from typing import NamedTuple

from perftune.records.gpu import Gpu

ONE, FSDP, OTHERWISE = "one GPU", "FSDP", "several GPUs otherwise"


class Band(NamedTuple):
    """Of one prediction."""

    part: float
    """Of what is measured."""
    outside: tuple[str, ...] = ()
    """What no published row is like, such as ``on Blackwell``; the band is wider for it."""


class Parts(NamedTuple):
    """Inside and outside of what was validated."""

    inside: float
    outside: float


MEMORY: dict[str, Parts] = {ONE: Parts(0.10, 0.15), FSDP: Parts(0.25, 0.30), OTHERWISE: Parts(0.25, 0.30)}
"""One GPU: 90th percentile of 177 figures is 8 %; 12 % where the CUDA context of the generation is taken from the
others. Several GPUs: of 33 the largest is 26 %, all but three of them with FSDP."""
TIME: dict[str, Parts] = {ONE: Parts(0.20, 0.30), FSDP: Parts(0.30, 0.40), OTHERWISE: Parts(0.60, 0.60)}
"""One GPU: 90th percentile of 106 rows is 13 %, but 15 % for sources and up to 25 % for generations that the constants
were not fitted to. FSDP: of 15 rows it is 24 %, of the worse source 30 %, the largest is 42 %. Otherwise: of 9 rows
with DDP and ZeRO-1 it is 42 %, and each of the two sources is all that there is of its kind."""
HALF, FP32, TF32 = "half precision", "fp32", "TF32"
FORMATS = {"fp16": HALF, "bf16": HALF, "fp32": FP32, "tf32": TF32}
COVERED: dict[str, tuple[str, ...]] = {
    "turing": (HALF,), "volta": (HALF, FP32), "ampere": (HALF,), "ada": (HALF,), "hopper": (HALF,),
}  # fmt: skip
"""Generation -> number formats of most of the arithmetic that rows ran in."""
SHARDINGS_WITH_MEMORY = ("none", "ddp", "fsdp", "zero3")


def kind_of_setting(sharding: str) -> str:
    """Key of `MEMORY` and `TIME`, from a name of ``perftune.plan.sharding.SHARDINGS``; ``none`` on one GPU."""
    return {"none": ONE, "fsdp": FSDP}.get(sharding, OTHERWISE)


def memory_band(gpu: Gpu, sharding: str) -> Band:
    """Of peak memory.

    Args:
        gpu: whose memory it is.
        sharding: as for ``kind_of_setting``.
    """
    outside: tuple[str, ...] = () if gpu.architecture in COVERED else (_generation(gpu),)
    if sharding not in SHARDINGS_WITH_MEMORY:
        outside += (f"with {sharding}",)
    return _band(MEMORY, sharding, outside)


def time_band(gpu: Gpu, number_format: str, sharding: str) -> Band:
    """Of seconds and samples per second.

    Args:
        gpu: what it runs on.
        number_format: fp32, tf32, bf16 or fp16, that of most of the arithmetic.
        sharding: as for ``kind_of_setting``.
    """
    outside: tuple[str, ...] = ()
    named = FORMATS.get(number_format, number_format)
    if gpu.architecture not in COVERED:
        outside = (_generation(gpu),)
    elif named not in COVERED[gpu.architecture]:
        outside = (f"in {named} {_generation(gpu)}",)
    return _band(TIME, sharding, outside)


def _generation(gpu: Gpu) -> str:
    name = gpu.architecture
    return f"on {name.capitalize() if name.isalpha() else name.upper()}"


def _band(parts: dict[str, Parts], sharding: str, outside: tuple[str, ...]) -> Band:
    inside, wider = parts[kind_of_setting(sharding)]
    return Band(wider if outside else inside, outside)
