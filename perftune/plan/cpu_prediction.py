"""A traced variant and a CPU to a candidate's peak of resident memory and the seconds of its step.

The CPU does one thing after the other: a step takes its arithmetic and, on top, what each operator costs beside it.
"""

from collections.abc import Mapping

import numpy as np

from perftune.plan.estimate import ProgramKind, Setup, Variant, micro_steps, work_share
from perftune.plan.glibc_heap import resident_peak
from perftune.plan.prediction import Prediction, known_peak
from perftune.plan.roofline import micro_step, optimizer_step
from perftune.plan.tapes import Work
from perftune.records.candidate import OPTIMIZER, Candidate
from perftune.units import MIB

HALF = "bf16"
"""The only half precision of the CPU: fp16 runs without autocast there."""
PROCESS_BYTES = 125 * MIB
"""What training makes resident beside its tensors: code of the libraries, kernels that oneDNN compiles, Python's own.
The medians of five recorded landscapes in fp32 are 96 to 149 MiB."""
OP_SECONDS = 18e-6
"""What an operator of forward or backward takes beside its work: Python, autograd, the dispatcher."""
BYTES_PER_SECOND = 20e9
"""What operators move, each tensor once. Fitted with the seconds above on six recorded landscapes (one core of a Xeon),
where the rates of products were free: 8 % median error, 27 % at the 90th percentile."""
OPTIMIZER_BYTES_PER_SECOND = 15e9
"""What an update of the parameters moves: 5 to 40 GB/s in the same landscapes."""
NOMINAL_FLOPS_PER_SECOND = 100e9
"""Of one core, where nothing was measured: only proportions follow from it."""


def predict_on_cpu(
    variant: Variant, candidate: Candidate, setup: Setup, flops_per_second: Mapping[str, float]
) -> Prediction:
    """Predict one candidate.

    Args:
        variant: traced under the rules of the CPU.
        candidate: of it.
        setup: the global batch and the lengths of the data.
        flops_per_second: of a linear layer's forward and backward, by precision; empty: not measured.

    Raises:
        DifferentTapesError: its micro-batch is beyond what was traced.
        KeyError: its optimizer was not traced.
    """
    size, num_micro, optim = candidate.micro_batch, micro_steps(candidate, setup), str(candidate.settings[OPTIMIZER])
    tape, share = variant.tapes.at(size), work_share(variant, candidate, setup)
    rates = flops_per_second or {"fp32": NOMINAL_FLOPS_PER_SECOND}
    kernels = host = 0.0
    for number, times in ((0, 1), (1, num_micro - 1)):
        for work in micro_step(tape, size, number):
            kernels += times * share * _kernel_seconds(work, rates)
            host += times * float(work.times.sum()) * OP_SECONDS
    kind = ProgramKind(optim, num_micro > 1, (), setup.sharding, setup.num_devices)
    tensors = known_peak(variant, f"{size} {kind}", lambda: resident_peak(variant.program(size, kind), size))
    return Prediction(
        peak_memory_bytes=tensors + PROCESS_BYTES,
        kernel_seconds=kernels,
        host_seconds=host,
        optimizer_seconds=float(optimizer_step(variant.optimizers[optim]).num_bytes.sum()) / OPTIMIZER_BYTES_PER_SECOND,
    )


def _kernel_seconds(work: Work, rates: Mapping[str, float]) -> float:
    """Products at the rate of their precision, and what all operators move."""
    of_kind = np.array([rates[HALF] if dtype == HALF and HALF in rates else rates["fp32"] for _, dtype in work.kinds])
    return float((work.flops / of_kind[work.kind_of_op] + work.num_bytes / BYTES_PER_SECOND).sum())
