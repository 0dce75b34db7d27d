"""The operators of a tape and a GPU to seconds: each kernel is bound by arithmetic or by memory, the whole by the host.

A kernel takes ``max(FLOPs / rate, bytes / bandwidth)`` and a fixed time, where a matrix product has some FLOPs more on
each multiprocessor, since its last wave of tiles does not fill the GPU. The rate is a part of the peak or what the
board's power is enough for, whichever is less: that is why a T4 (70 W) reaches less of its peak than a V100, and an
H100 less than an L40S. The bandwidth is a part of the peak, and less of it the more there is for each multiprocessor. A
phase takes its kernels' sum, or what the host needs to launch them if that is longer; a step some time of the host on
top.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from perftune.plan.calibration import TIME, TimeConstants, joules_per_flop
from perftune.plan.program import pass_marks
from perftune.plan.tapes import FamilyTape, Work
from perftune.records.gpu import Gpu

ATTENTION = ("flash_attention", "efficient_attention")
HALF = ("bf16", "fp16")
ALIKE = {"int8": "fp16"}
"""Number format -> the one whose peak it has where its own is not known."""


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

    def __init__(self, gpu: Gpu, precision: str, constants: TimeConstants = TIME) -> None:
        """
        Args:
            gpu: a row of the catalogue.
            precision: fp32, tf32, bf16 or fp16: which tensor cores the products use.
            constants: only a fit has others.
        """
        self.gpu, self.precision, self.constants = gpu, precision, constants

    def number_format(self, dtype: str) -> str:
        """Of the factors of a product in this dtype: fp32, tf32, bf16 or fp16, or what else the GPU has cores for.

        Mixed precision is traced in bf16 where it is fp16, and TF32 in fp32; where the GPU has no cores for it, or its
        peak is not known, what is nearest is used.
        """
        meant = dtype
        if dtype in HALF and self.precision in HALF:
            meant = self.precision
        elif dtype == "fp32" and self.precision == "tf32":
            meant = "tf32"
        return next((known for known in (meant, ALIKE.get(meant, "fp32")) if self.gpu.peak(known)), "fp32")

    def peak_flops(self, dtype: str) -> float:
        """Dense peak of the arithmetic that a product in this dtype uses here."""
        return self.gpu.peak(self.number_format(dtype)) or 0.0

    def forward(self, work: Work) -> Seconds:
        """Of operators that Python launches one by one."""
        return self._seconds(work, self.constants.host_forward_seconds)

    def backward(self, work: Work) -> Seconds:
        """Of operators that autograd launches."""
        return self._seconds(work, self.constants.host_backward_seconds)

    def optimizer(self, work: Work) -> Seconds:
        """Of clipping and the optimizer, and of what the host does once a step."""
        once = self.constants.step_seconds
        return self._seconds(work, self.constants.host_backward_seconds) + Seconds(once, once)

    def _seconds(self, work: Work, host_seconds: float) -> Seconds:
        tile_flops = self.constants.tile_flops * self.gpu.num_sms
        rates = np.array([self._flops_per_second(name, dtype) for name, dtype in work.kinds], dtype=np.float64)
        computing = np.where(work.flops > 0, work.flops + tile_flops, 0.0) / rates[work.kind_of_op]
        kernels = np.maximum(computing, work.num_bytes / self._bytes_per_second()) + self.constants.kernel_seconds
        return Seconds(float(work.times @ kernels), host_seconds * float(work.times.sum()))

    def _flops_per_second(self, name: str, dtype: str) -> float:
        """Of large products; fused attention reaches a part of that."""
        rate = self.peak_flops(dtype) * self.constants.peak_part
        if self.gpu.tdp_watts is not None:
            watts = self.gpu.tdp_watts - self.constants.other_watts
            rate = min(rate, watts / joules_per_flop(self.constants, self.gpu.architecture, self.number_format(dtype)))
        return rate * (self.constants.attention_part if name in ATTENTION else 1.0)

    def _bytes_per_second(self) -> float:
        """As if each byte first waited for the memory, then for the multiprocessors."""
        memory = self.gpu.memory_bandwidth_bytes_per_second * self.constants.bandwidth_part
        return 1 / (1 / memory + 1 / (self.gpu.num_sms * self.constants.sm_bytes_per_second))


class MicroStep(NamedTuple):
    """The operators of one micro-step."""

    forward: Work
    backward: Work


def micro_step(tape: FamilyTape, micro_batch: int, number: int) -> MicroStep:
    """The first or the second micro-step: 0 makes the gradients, 1 adds to them."""
    begin, turn, end = pass_marks(tape.example.op_marks, f"micro_{number}")
    return MicroStep(tape.work(micro_batch, begin, turn), tape.work(micro_batch, turn, end))


def optimizer_step(tape: FamilyTape) -> Work:
    """The second step, which finds its state; clipping included."""
    marks = tape.example.op_marks
    return tape.work(1, marks["clip_1"], marks["step_1_ends"])
