"""What a GPU can do at most, as its makers say, and where each number is from."""

import re
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from perftune.records.base import Record

DTYPES = ("fp32", "tf32", "fp16", "bf16", "fp8", "int8")
"""What peaks are known by: the number format of the factors of a matrix product."""

NUMBERS = ("compute_capability", "num_sms", "memory_bytes", "memory_bandwidth_bytes_per_second", "link", "tdp_watts")
"""The fields that hold one number each; the peaks come on top, as ``peak_flops.bf16``."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9.]+)*", re.ASCII)

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Something per second; positive and finite."""


class Link(Record):
    """The fastest way from one GPU to the next in the machines that the GPU is sold in."""

    name: str = Field(min_length=1)
    """Such as ``NVLink 4`` or ``PCIe 4.0 x16``; a bridge that is bought extra does not count."""
    bytes_per_second: Rate
    """What one GPU can send to all others together, in one direction. Makers mostly print both directions summed."""


class Gpu(Record):
    """One row of the catalogue. What is unknown is None or absent, never a guess."""

    name: str
    """The id in the catalogue, such as ``h100-80gb-sxm``: model, nominal memory in GB, form where there are several."""
    title: str = Field(min_length=1)
    """As the maker calls it."""
    architecture: str = Field(min_length=1)
    """turing, volta, ampere, ada, hopper, blackwell, cdna3, …"""
    compute_capability: tuple[int, int] | None = None
    """None where the maker has no such number: AMD."""
    num_sms: int = Field(gt=0)
    """Streaming multiprocessors; AMD: compute units."""
    memory_bytes: int = Field(gt=0)
    """What the driver tells a program in total: the nominal size less what firmware and error correction keep. It moves
    by some tenths of a GiB from one driver to another."""
    memory_bandwidth_bytes_per_second: Rate
    """Peak, of the GPU's own memory."""
    peak_flops: dict[str, Rate]
    """Peak FLOP/s without sparsity, by number format of DTYPES. fp32 is that of the ordinary cores, the others that of
    the tensor (matrix) cores with sums in fp32, which is what training runs; int8 is summed in int32."""
    link: Link | None = None
    tdp_watts: int | None = Field(default=None, gt=0)
    """Board power in watts, the highest setting as sold."""
    sources: dict[str, str]
    """Where each number is from, by field name. ``peak_flops`` stands for every peak that has no ``peak_flops.fp8`` of
    its own."""

    @field_validator("name")
    @classmethod
    def _spelled_as_an_id(cls, name: str) -> str:
        if not _NAME.fullmatch(name) or name == "all":
            raise ValueError("should be lower case letters and digits with hyphens, such as h100-80gb-sxm")
        return name

    @field_validator("peak_flops")
    @classmethod
    def _known_formats(cls, peaks: dict[str, float]) -> dict[str, float]:
        unknown = [dtype for dtype in peaks if dtype not in DTYPES]
        if unknown or not peaks:
            raise ValueError(f"should have some of {', '.join(DTYPES)}, not {unknown[0] if unknown else 'none'}")
        return peaks

    @model_validator(mode="after")
    def _every_number_has_a_source(self) -> "Gpu":
        missing = [number for number in self.numbers() if not self.source(number)]
        if missing:
            raise ValueError(f"sources should say where {missing[0]} is from")
        known = {*self.numbers(), "peak_flops"}
        surplus = [number for number in self.sources if number not in known]
        if surplus:
            raise ValueError(f"sources has {surplus[0]}, which is no number of this GPU")
        return self

    @staticmethod
    def numbered_fields() -> set[str]:
        """The fields that hold numbers, and so need a source where they are known."""
        return {*NUMBERS, "peak_flops"}

    def numbers(self) -> list[str]:
        """The names of all numbers that are known: fields, and ``peak_flops.bf16`` for each peak."""
        fields = [name for name in NUMBERS if getattr(self, name) is not None]
        return fields + [f"peak_flops.{dtype}" for dtype in DTYPES if dtype in self.peak_flops]

    def source(self, number: str) -> str | None:
        """Where a number of ``numbers()`` is from."""
        return self.sources.get(number) or self.sources.get(number.partition(".")[0])

    def peak(self, dtype: str) -> float | None:
        """Peak FLOP/s without sparsity in a number format of DTYPES; None where the GPU has no such cores."""
        return self.peak_flops.get(dtype)
