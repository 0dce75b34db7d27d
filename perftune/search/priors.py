"""What is believed of each knob before anything is measured: which parts of a step it can change, and by how much.

Effects are differences of natural logarithms of seconds, so 0.1 is about 10 %. They are beliefs, not measurements:
they decide what is tried first, and every one of them yields to two or three trials that say otherwise.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from perftune.records.candidate import ATTENTION, CHECKPOINTING, COMPILE, MICRO_BATCH, OPTIMIZER, PRECISION, WORKERS
from perftune.records.device import Device
from perftune.search.encoding import Floats


@dataclass(frozen=True)
class Term:
    """Candidates that agree in these knobs share an effect with this standard deviation."""

    sd: float
    knobs: tuple[str, ...] = ()
    batch: str = ""
    """How the effect moves with the micro-batch: not at all, along a ``line`` (per octave), or a smooth ``curve``."""


CURVE_OCTAVES = 1.3
"""Length over which a smooth deviation from the expected batch curve stays alike: caches bend it at some size."""

OVERHEADS = (0.02, 0.3, 1.0, 4.0, 16.0)
"""Fixed cost of a micro-batch, in samples' worth of compute: the unknown of the batch curve ``1 + overhead / size``.
All are held possible at once, each weighed by how well it explains the trials."""

HOST_FACTORS = (0.2, 0.5, 1.0, 2.0, 5.0)
"""The same where a trace counts operators: the host's share is so many times what was predicted."""

TRACED, TRACED_LINE, TRACED_BATCH = 0.7, 0.5, 0.6
"""Part of the spread of a knob's effect that is left where a trace predicts it, of how that moves with the micro-batch,
and of the batch curve."""
RATES_KNOWN = 0.6
"""The same of precision's, where the device was measured in each."""

REST_OVERHEAD = 8.0
"""The same for the rest of a step, which is mostly per micro-batch."""

OPTIMIZER_FAMILY = "optim family"
"""Not a knob: optimizers of one library are alike."""

HALF_OVERHEAD = 2.0
"""Autocast casts the weights anew in every micro-batch, so its overhead grows where the time per sample shrinks."""

UNKNOWN_KNOB_SD = 0.08

_COMPUTE_SD = {PRECISION: 0.5, CHECKPOINTING: 0.08, ATTENTION: 0.12, COMPILE: 0.3, "use_liger_kernel": 0.12,
               OPTIMIZER: 0.005, WORKERS: 0.02, "dataloader_pin_memory": 0.01, "train_sampling_strategy": 0.3,
               "torch_empty_cache_steps": 0.05, "cuda_allocator": 0.03}  # fmt: skip
_COMPUTE_LINE_SD = {PRECISION: 0.12, CHECKPOINTING: 0.03, ATTENTION: 0.04, COMPILE: 0.06, "use_liger_kernel": 0.03}
_COMPUTE_PAIR_SD = {(PRECISION, ATTENTION): 0.2, (PRECISION, COMPILE): 0.1, (PRECISION, CHECKPOINTING): 0.04}
HANDED_ON = 0.1
"""Part of the time to load data that is left when workers load it: what they send has to be received."""
WAITED = 0.1
"""With workers, a step that waits for less than this part of it has enough of them."""
BF16_EAGER_ON_CPU = -0.15
"""In bf16 a CPU runs eager attention faster than sdpa, whatever a trace counts: in each of the recorded landscapes, by
3 to 40 %, and seven of the eight workloads tuned on another CPU (benchmarks/README.md) ended with both."""
_OTHER_PARTS = {OPTIMIZER, WORKERS, "dataloader_pin_memory", "dataloader_prefetch_factor"}
"""Knobs of which forward and backward know nothing: candidates that differ in these alone are alike in compute."""
_OPTIMIZER_SD = {OPTIMIZER: 0.3, PRECISION: 0.1}
_DATA_SD = {WORKERS: 1.0, "dataloader_pin_memory": 0.3, "train_sampling_strategy": 0.3}

_OPTIMIZER_MEAN = {
    "cpu": {"adamw_torch": 0.0, "adamw_torch_fused": -0.8, "adamw_bnb_8bit": 1.0, "paged_adamw_8bit": 1.0,
            "adamw_torch_8bit": 1.2},
    "cuda": {"adamw_torch": 0.0, "adamw_torch_fused": -0.4, "adamw_bnb_8bit": -0.3, "paged_adamw_8bit": -0.2,
             "adamw_torch_8bit": 0.3},
}  # fmt: skip

_MATRIX_BF16 = "amx_bf16"
_VECTOR_BF16 = "avx512_bf16"


_TRACED = (CHECKPOINTING, ATTENTION, PRECISION)
"""Knobs whose effect on forward and backward a trace predicts; on precision's own only where the rates are known."""


def terms(part: str, names: list[str], *, is_traced: bool = False, knows_rates: bool = False) -> list[Term]:
    """The effects that a part of the step can have, given the knobs of the space.

    Args:
        part: one of ``observations.PARTS``.
        names: of the knobs.
        is_traced: traces predict forward and backward.
        knows_rates: and what each precision runs at.
    """
    knobs = [name for name in names if name != MICRO_BATCH]
    if part == "compute":
        return [_traced(term, knows_rates) for term in _compute_terms(knobs)] if is_traced else _compute_terms(knobs)
    if part == "optimizer":
        single = _single(knobs, _OPTIMIZER_SD, 0.03)
        if OPTIMIZER in knobs:
            single += [Term(0.6, (OPTIMIZER_FAMILY,)), Term(0.05, (OPTIMIZER, PRECISION))]
        return [Term(1.0), *single, Term(0.02, batch="line")]
    if part == "data":
        return [Term(1.0), *_single(knobs, _DATA_SD, 0.05), Term(0.1, batch="line"), Term(0.2, batch="curve")]
    return [Term(1.0), *_single(knobs, {}, 0.1), Term(0.25, batch="line"), Term(0.15, batch="curve")]


def _compute_terms(knobs: list[str]) -> list[Term]:
    lines = [Term(sd, (name,), "line") for name, sd in _COMPUTE_LINE_SD.items() if name in knobs]
    curves = [Term(0.05, (name,), "curve") for name in (PRECISION, ATTENTION, COMPILE) if name in knobs]
    pairs = [Term(sd, pair) for pair, sd in _COMPUTE_PAIR_SD.items() if set(pair) <= set(knobs)]
    own = Term(0.02, tuple(name for name in knobs if name not in _OTHER_PARTS), "curve")
    batch = [Term(0.07, batch="line"), Term(0.1, batch="curve")]
    return [Term(1.0), *_single(knobs, _COMPUTE_SD, UNKNOWN_KNOB_SD), *batch, *lines, *curves, *pairs, own]


def _traced(term: Term, knows_rates: bool) -> Term:
    """The term with the spread that a trace leaves."""
    if not set(term.knobs) <= set(_TRACED) or not (term.knobs or term.batch):
        return term
    if term.knobs == (PRECISION, ATTENTION):
        return term
    if term.knobs == (PRECISION,) and not term.batch:
        return replace(term, sd=RATES_KNOWN * term.sd) if knows_rates else term
    left = TRACED_BATCH if not term.knobs else TRACED_LINE if term.batch == "line" else TRACED
    return replace(term, sd=left * term.sd)


def _single(knobs: list[str], sds: dict[str, float], other: float) -> list[Term]:
    return [Term(sds.get(name, other), (name,)) for name in knobs]


def optimizer_family(name: object) -> str:
    """What implementations of an optimizer have in common: bitsandbytes' 8-bit ones, or nothing."""
    return "bitsandbytes" if name in {"adamw_bnb_8bit", "paged_adamw_8bit"} else str(name)


def mean(part: str, name: str, value: object, device: Device | None, *, is_traced: bool = False) -> float:
    """The expected effect of a value on a part, against the value that changes nothing; what is traced aside."""
    if is_traced and part == "compute" and name in _TRACED:
        return 0.0
    kind = device.kind if device else "cpu"
    if part == "optimizer" and name == OPTIMIZER:
        return _OPTIMIZER_MEAN.get(kind, {}).get(str(value), 0.0)
    if part != "compute":
        return 0.0
    if name == WORKERS:  # they compute where the step, or on a GPU what launches it, computes too
        return 0.03 if isinstance(value, int) and value > 0 else 0.0
    if value is True:
        return {CHECKPOINTING: 0.27, COMPILE: -0.15, "use_liger_kernel": -0.1}.get(name, 0.0)
    return {"sdpa": -0.05, "flash_attention_2": -0.12, "group_by_length": -0.2}.get(str(value), 0.0)


def waiting_seconds(num_workers: Floats, first_workers: int, data_seconds: float, other_seconds: float) -> Floats:
    """How long a step is expected to wait for data, by the number of workers.

    Workers load while the rest of the step goes on, each a batch of its own: what a step waits for is what all of them
    take longer than that, and at least `HANDED_ON` of what loading takes, to hand it over.

    Args:
        num_workers: to be asked of; 0: the step loads its own data.
        first_workers: of the first trial.
        data_seconds: that a step of the first trial waited.
        other_seconds: of the rest of that step.
    """
    if not first_workers:
        loading = data_seconds
    elif data_seconds < WAITED * (data_seconds + other_seconds):
        return np.full(len(num_workers), data_seconds)  # how much the workers hide is not known
    else:
        loading = first_workers * (data_seconds + other_seconds)
    beside = np.maximum(loading / np.maximum(num_workers, 1) - other_seconds, HANDED_ON * loading)
    return np.asarray(np.where(num_workers > 0, beside, loading), dtype=np.float64)


def pair_mean(precision: object, attention: object, device: Device | None) -> float:
    """The expected effect of two values together on forward and backward, beside what each has by itself."""
    is_fast = precision == "bf16" and attention == "eager" and (device is None or device.kind == "cpu")
    return BF16_EAGER_ON_CPU if is_fast else 0.0


def precision_factors(value: str, device: Device | None) -> tuple[float, float]:
    """Expected factors of a precision on the time per sample, and on the overhead of a micro-batch."""
    return math.exp(_precision_mean(value, device)), HALF_OVERHEAD if value in {"bf16", "fp16"} else 1.0


def _precision_mean(value: str, device: Device | None) -> float:
    """Half precision pays where the hardware multiplies it: AMX or AVX-512 BF16 on CPU, tensor cores on CUDA."""
    if device is None or value == "fp32":
        return 0.0
    if device.kind == "cuda":
        half = -0.8 if (device.compute_capability or (8, 0)) >= (7, 0) else -0.2
        bf16 = half if (device.compute_capability or (8, 0)) >= (8, 0) else 0.5
        return {"tf32": -0.5, "bf16": bf16, "fp16": half}.get(value, 0.0)
    sets = device.instruction_sets
    if value == "bf16":
        return -0.4 if _MATRIX_BF16 in sets else -0.1 if _VECTOR_BF16 in sets else 0.3
    return 0.0 if "amx_fp16" in sets or "avx512_fp16" in sets else 0.4
