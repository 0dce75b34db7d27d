"""The operators of a tape and a GPU to seconds: each kernel is bound by arithmetic or by memory, the whole by the host.

A kernel takes ``max(FLOPs / (peak × efficiency), bytes / (bandwidth × efficiency))`` and a fixed time, where a matrix
product has some FLOPs more on each multiprocessor, since its last wave of tiles does not fill the GPU; a phase takes
its kernels' sum, or what the host needs to launch them if that is longer; a step some time of the host on top.
"""

from dataclasses import dataclass

import numpy as np

from perftune.plan.calibration import (
    EFFICIENCY,
    HOST_BACKWARD_SECONDS,
    HOST_FORWARD_SECONDS,
    KERNEL_SECONDS,
    STEP_SECONDS,
    TILE_FLOPS,
    Efficiency,
)
from perftune.plan.program import pass_marks
from perftune.plan.tapes import FamilyTape, Floats
from perftune.records.gpu import Gpu

ATTENTION = ("flash_attention", "efficient_attention")
HALF = ("bf16", "fp16")


@dataclass(frozen=True)
class Seconds:
    """Of one stretch."""

    kernels: float
    host: float

    @property
    def total(self) -> float:
        """Whichever is longer: the host launches ahead of the GPU."""
        return max(self.kernels, self.host)

    def scaled(self, share: float, times: int) -> "Seconds":
        """So many times, with kernels on a part of the data; the host launches as many of them."""
        return Seconds(self.kernels * share * times, self.host * times)

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.kernels + other.kernels, self.host + other.host)


class Roofline:
    """One GPU in one precision."""

    def __init__(self, gpu: Gpu, precision: str) -> None:
        """
        Args:
            gpu: a row of the catalogue.
            precision: fp32, tf32, bf16 or fp16: which tensor cores the products use.
        """
        self.gpu, self.precision = gpu, precision
        self._efficiency: Efficiency = EFFICIENCY[gpu.architecture]

    def peak_flops(self, dtype: str) -> float:
        """Dense peak of the arithmetic that a product in this dtype uses here."""
        return self.gpu.peak(self._format(dtype)) or self.gpu.peak("fp32") or 0.0

    def seconds(self, tape: FamilyTape, micro_batch: int, begin: int, end: int, host_seconds: float) -> Seconds:
        """Of the operators ``begin`` to ``end`` of a tape."""
        flops, num_bytes = tape.flops.at(micro_batch)[begin:end], tape.num_bytes.at(micro_batch)[begin:end]
        rates = self._rates(tape)[begin:end]
        moving = num_bytes / (self.gpu.memory_bandwidth_bytes_per_second * self._efficiency.bandwidth)
        computing = np.where(flops > 0, flops + TILE_FLOPS * self.gpu.num_sms, 0.0) / rates
        kernels = np.maximum(computing, moving) + KERNEL_SECONDS
        return Seconds(float(kernels.sum()), host_seconds * (end - begin))

    def _rates(self, tape: FamilyTape) -> Floats:
        kinds, kind_of_op = tape.op_kinds
        rates = [
            self.peak_flops(dtype) * (self._efficiency.attention if name in ATTENTION else self._matmul(dtype))
            for name, dtype in kinds
        ]
        return np.array(rates, dtype=np.float64)[kind_of_op]

    def _matmul(self, dtype: str) -> float:
        known = self._efficiency.matmul
        return known.get(self._format(dtype), known["fp32"])

    def _format(self, dtype: str) -> str:
        """Of the factors: mixed precision is traced in bf16 where it is fp16, and TF32 in fp32."""
        if dtype in HALF and self.precision in HALF:
            return self.precision
        return "tf32" if dtype == "fp32" and self.precision == "tf32" else dtype


def micro_step_seconds(roofline: Roofline, tape: FamilyTape, micro_batch: int, number: int) -> dict[str, Seconds]:
    """Forward and backward of the first or the second micro-step."""
    begin, turn, end = pass_marks(tape.example.op_marks, f"micro_{number}")
    return {
        "forward": roofline.seconds(tape, micro_batch, begin, turn, HOST_FORWARD_SECONDS),
        "backward": roofline.seconds(tape, micro_batch, turn, end, HOST_BACKWARD_SECONDS),
    }


def optimizer_seconds(roofline: Roofline, tape: FamilyTape) -> Seconds:
    """The second step, which finds its state; clipping and what the host does once a step included."""
    marks = tape.example.op_marks
    own = roofline.seconds(tape, 1, marks["clip_1"], marks["step_1_ends"], HOST_BACKWARD_SECONDS)
    return own + Seconds(STEP_SECONDS, STEP_SECONDS)
