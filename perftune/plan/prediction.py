"""What the search is told of a candidate before any trial: its peak, and what binds its step; here for a GPU."""

import math
from collections.abc import Callable
from typing import NamedTuple

from perftune.plan.calibration import workspace_bytes
from perftune.plan.estimate import ProgramKind, Setup, Variant, forward_and_backward, micro_steps
from perftune.plan.roofline import Roofline, optimizer_step
from perftune.records.candidate import CUDA_ALLOCATOR, OPTIMIZER, PRECISION, Candidate
from perftune.records.gpu import Gpu


class Prediction(NamedTuple):
    """One candidate; seconds per optimizer step."""

    peak_memory_bytes: int
    kernel_seconds: float | None = None
    """Arithmetic and memory traffic of forward and backward."""
    host_seconds: float | None = None
    """What launching it takes."""
    optimizer_seconds: float | None = None


def known_peak(variant: Variant, name: str, find: Callable[[], int]) -> int:
    """A peak in bytes, which is found once.

    Args:
        variant: of which.
        name: all that the peak depends on, beside the variant.
        find: takes long.

    Raises:
        DifferentTapesError: the micro-batch is beyond what was traced, and the peak is not known yet.
        KeyError: the same of the optimizer.
    """
    if name not in variant.known_peaks:
        variant.known_peaks[name] = find()
    return variant.known_peaks[name]


def predict_on_gpu(variant: Variant, gpu: Gpu | None, candidate: Candidate, setup: Setup) -> Prediction:
    """Predict one candidate.

    Args:
        variant: traced under the rules of CUDA.
        gpu: a row of the catalogue; None: one that is not in it, of which no seconds are known.
        candidate: of the variant.
        setup: the global batch and the lengths of the data.

    Raises:
        DifferentTapesError: its micro-batch is beyond what was traced.
        KeyError: its optimizer was not traced.
    """
    optim = str(candidate.settings[OPTIMIZER])
    workspaces = workspace_bytes(gpu.architecture if gpu else "")
    accumulates = micro_steps(candidate, setup) > 1
    kind = ProgramKind(optim, accumulates, workspaces, setup.sharding, setup.num_devices)
    is_expandable = "expandable" in str(candidate.settings.get(CUDA_ALLOCATOR))

    def reserved_bytes() -> int:
        peak = variant.peak(candidate.micro_batch, kind, math.inf, expandable_segments=is_expandable)
        return peak.reserved_bytes or peak.allocated_bytes

    reserved = known_peak(variant, f"{candidate.micro_batch} {is_expandable} {kind}", reserved_bytes)
    if gpu is None:
        return Prediction(reserved)
    roofline = Roofline(gpu, str(candidate.settings[PRECISION]))
    forward, backward = forward_and_backward(variant, roofline, candidate, setup)
    return Prediction(
        reserved,
        forward.kernels + backward.kernels,
        forward.host + backward.host,
        roofline.optimizer(optimizer_step(variant.optimizers[optim])).total,
    )
