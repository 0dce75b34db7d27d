"""Peaks and OOMs of the trials so far become, for every candidate, a predicted peak and the chance that it fits.

Peak memory is close to affine in the micro-batch: ``base(optimizer, precision, …) + micro_batch × slope(arm)``. Both
sums have hand-set priors, in units of the first completed trial's peak, and an exact Gaussian posterior. Where traces
predict every peak, the sums are what the prediction leaves over, and something is believed before any trial. What is
certain is not left to it: nothing at or above a known OOM of the same or a hungrier arm is tried.
"""

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from perftune.records.candidate import ATTENTION, CHECKPOINTING, COMPILE, MICRO_BATCH, OPTIMIZER, PRECISION
from perftune.records.trial import Trial
from perftune.search.encoding import Bools, Encoding, Floats, Ints
from perftune.search.predictions import Predictions
from perftune.search.strategy import OUT_OF_MEMORY, fits
from perftune.units import MIB

_BASE_SD = {OPTIMIZER: 0.15, PRECISION: 0.15, COMPILE: 0.15, CHECKPOINTING: 0.03}
_SLOPE_SD = {PRECISION: 0.12, CHECKPOINTING: 0.15, ATTENTION: 0.15, COMPILE: 0.1, "use_liger_kernel": 0.15,
             OPTIMIZER: 0.01, "train_sampling_strategy": 0.1}  # fmt: skip
_SLOPE_MEAN: dict[tuple[str, object], float] = {
    (CHECKPOINTING, True): -0.25, (PRECISION, "bf16"): -0.08, (PRECISION, "fp16"): -0.08,
    ("use_liger_kernel", True): -0.1, (ATTENTION, "eager"): 0.1,
}  # fmt: skip
_BASE_MEAN: dict[tuple[str, object], float] = {
    (OPTIMIZER, "adamw_torch_fused"): -0.05, (OPTIMIZER, "adamw_bnb_8bit"): -0.12,
    (OPTIMIZER, "paged_adamw_8bit"): -0.12, (OPTIMIZER, "adamw_torch_8bit"): -0.12,
}  # fmt: skip
_OTHER_SD = 0.02
KERNELS = ((0.0, 0.2), (0.2, 0.5))
"""What half precision on a CPU takes more, since oneDNN compiles kernels for every length that it meets: as parts of
the first peak, in any micro-batch, and at a micro-batch of one, in inverse proportion to it; mean and spread. It was up
to 1.5 at one and up to 1 elsewhere, …"""
KERNELS_OF_ATTENTION = (0.0, 0.15)
"""… by what runs attention, of which eager multiplies most."""

TRACED = 0.5
"""Part of these spreads that is left where a trace predicts the peak; nothing is left of the means."""
SCALE_SD = {"cpu": 0.25, "cuda": 0.06}
"""Of the factor between predicted and real peaks, by kind of device …"""
OFFSET_SD_BYTES = {"cpu": 80 * MIB, "cuda": 150 * MIB}
"""… and of what the prediction misses alike in all candidates. CPU: from the recorded landscapes; CUDA: from the
validation of predictions (benchmarks/validation)."""

NOISE = 0.06
"""Relative spread of a peak that the affine form does not explain."""
MOST_AT_ONCE = 4096
"""Candidates whose features are held in memory at a time."""
FARTHEST = 8.0
"""Predictions for micro-batches this many times larger than any that has run are believed ever less."""
OOM_EXCESS = 1.3
"""A trial that ran out of memory is taken to have needed about this much of the limit …"""
OOM_SD = 0.15
"""… give or take this part of it."""


class MemoryModel:
    """Beliefs about the peak memory of every candidate.

    Args:
        encoding: of the space.
        trials: so far.
        predicted: what traces say of the candidates; None: nothing.
    """

    def __init__(self, encoding: Encoding, trials: Sequence[Trial], predicted: Predictions | None = None) -> None:
        self._encoding = encoding
        self._trials = [(row, trial) for trial in trials if (row := encoding.number(trial.candidate)) is not None]
        self._peaks = [(row, t.measurement.memory) for row, t in self._trials if t.measurement is not None]
        self._predicted = predicted
        self.excluded = self._excluded()
        """Candidates that cannot fit, by a known OOM or a known peak."""
        self.knows = bool(self._peaks) or self._predicted is not None
        """Whether anything can be said of peaks that were not measured."""
        if self.knows:
            reference = self._peaks[0][0] if self._peaks else encoding.number(encoding.space.base) or 0
            self._unit = self._unit_bytes(reference)
            if self._predicted is None:
                self._size = encoding.micro_batch / encoding.micro_batch[reference]
            else:
                self._size = self._predicted.peak_bytes / self._unit
            self._mean, self._covariance = self._fit()

    def _unit_bytes(self, reference: int) -> float:
        if self._peaks:
            return max(float(self._peaks[0][1].peak_bytes), 1.0)
        assert self._predicted is not None
        return float(self._predicted.peak_bytes[reference])

    def _excluded(self) -> Bools:
        """At or above, in micro-batch, every candidate that is known not to fit, in its arm or a hungrier one."""
        excluded = np.zeros(len(self._encoding), dtype=bool)
        for row, trial in self._trials:
            if trial.outcome in OUT_OF_MEMORY or (
                trial.measurement is not None and not fits(self._encoding.space, trial)
            ):
                excluded |= hungrier(self._encoding, row)
        return excluded

    def _known_to_fit(self) -> Bools:
        """At or below, in micro-batch, a candidate of the same arm that fitted."""
        known = np.zeros(len(self._encoding), dtype=bool)
        size = self._encoding.micro_batch
        for row, trial in self._trials:
            if fits(self._encoding.space, trial):
                arm = self._encoding.arm(row)
                known[arm] |= size[arm] <= size[row]
        return known & ~self.excluded

    def _fit(self) -> tuple[Floats, Floats]:
        mean, sd = self._prior()
        covariance = np.diag(sd**2)
        if self._peaks:
            rows = np.array([row for row, _ in self._peaks])
            values = np.array([m.peak_bytes / self._unit for _, m in self._peaks])
            noise = NOISE * np.maximum(np.abs(values), 1.0)
            mean, covariance = _condition(mean, covariance, self._features(rows), values, noise)
        limit = self._encoding.space.memory_limit_bytes
        for row, trial in self._trials:
            if trial.outcome in OUT_OF_MEMORY:
                features = self._features(np.array([row]))
                if float(features[0] @ mean) < limit / self._unit:
                    value = np.array([OOM_EXCESS * limit / self._unit])
                    mean, covariance = _condition(
                        mean, covariance, features, value, np.array([OOM_SD * limit / self._unit])
                    )
        return mean, covariance

    def _prior(self) -> tuple[Floats, Floats]:
        mean, sd = _prior(self._encoding)
        if self._predicted is None:
            return mean, sd
        device = self._encoding.space.device
        kind = device.kind if device else "cpu"
        num_kernels = len(KERNELS) + _num_attentions(self._encoding)
        slope = (len(mean) - num_kernels) // 2
        mean[:-num_kernels], left = 0.0, TRACED if self._predicted.is_complete else 1.0
        sd[:-num_kernels] *= left
        mean[slope], sd[slope] = 1.0, SCALE_SD[kind]
        sd[0] = OFFSET_SD_BYTES[kind] / self._unit
        return mean, sd

    def _features(self, rows: Ints) -> Floats:
        """Base and slope of every value; the slopes go with the size."""
        encoding = self._encoding
        columns = [np.ones(len(rows))]
        for name, values in zip(encoding.names, encoding.values, strict=True):
            if name != MICRO_BATCH:
                column = encoding.column(name)[rows]
                columns += [(column == i).astype(float) for i in range(len(values))]
        base = np.stack(columns, axis=1)
        return np.concatenate([base, base * self._size[rows][:, None], _kernels(encoding, rows)], axis=1)

    def peak_bytes(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of every candidate's peak; unknown (NaN) without a prediction or a peak."""
        return self._peak_bytes

    @cached_property
    def _peak_bytes(self) -> tuple[Floats, Floats]:
        if not self.knows:
            unknown = np.full(len(self._encoding), np.nan)
            return unknown, unknown
        mean, variance = np.empty(len(self._encoding)), np.empty(len(self._encoding))
        for start in range(0, len(mean), MOST_AT_ONCE):
            rows = np.arange(start, min(start + MOST_AT_ONCE, len(mean)))
            features = self._features(rows)
            mean[rows] = features @ self._mean
            variance[rows] = np.einsum("ij,ij->i", features @ self._covariance, features)
        variance += (NOISE * np.maximum(mean, 1.0)) ** 2
        return self._unit * mean, self._unit * np.sqrt(variance)

    def fit_probability(self) -> Floats:
        """The chance of every candidate to stay within the memory that the recommendation may use."""
        if self.knows:
            mean, sd = self.peak_bytes()
            z = (self._encoding.space.usable_memory_bytes - mean) / sd
            probability = 0.5 * np.array([math.erfc(value) for value in (-z / math.sqrt(2)).tolist()])
            if self._predicted is None:
                probability /= np.maximum(1.0, self._encoding.micro_batch / self._largest_believed())
        else:
            probability = np.full(len(self._encoding), 0.5)
        probability[self._known_to_fit()] = 1.0
        probability[self.excluded] = 0.0
        return probability

    def _largest_believed(self) -> float:
        size = self._encoding.micro_batch
        return FARTHEST * float(max(size[row] for row, _ in self._peaks))

    def log_samples(self, rows: Ints, num: int, rng: np.random.Generator) -> Floats:
        """Joint draws of the log of the peaks of some candidates: draw × row."""
        factor = np.linalg.cholesky(self._covariance + 1e-10 * np.eye(len(self._mean)))
        weights = self._mean + rng.standard_normal((num, len(self._mean))) @ factor.T
        peaks = self._unit * (weights @ self._features(rows).T)
        return np.asarray(np.log(np.maximum(peaks, 0.01 * self._unit)), dtype=np.float64)


def hungrier(encoding: Encoding, row: int) -> Bools:
    """Candidates that need at least the memory of this one: no smaller a micro-batch, and no checkpointing if it had none.

    Other knobs must agree: which precision or optimizer needs more is for the measurements to say. In half precision on
    a CPU a larger micro-batch may need less (see `KERNELS`).
    """  # noqa: E501
    others = [name for name in encoding.names if name not in (MICRO_BATCH, CHECKPOINTING)]
    size, own = encoding.micro_batch, encoding.micro_batch[row]
    result: Bools = encoding.equal(row, others) & (size == own if _half_on_cpu(encoding)[row] else size >= own)
    if CHECKPOINTING in encoding.names:
        saves = np.array([value is True for value in encoding.values[encoding.names.index(CHECKPOINTING)]])
        saving = saves[encoding.column(CHECKPOINTING)]
        result &= ~saving | saving[row]
    return result


def _kernels(encoding: Encoding, rows: Ints) -> Floats:
    """What oneDNN's kernels depend on; see `KERNELS`."""
    is_half = _half_on_cpu(encoding)[rows]
    each = [is_half * (encoding.column(ATTENTION)[rows] == i) for i in range(_num_attentions(encoding))]
    return np.stack([is_half, is_half / encoding.micro_batch[rows], *each], axis=1)


def _num_attentions(encoding: Encoding) -> int:
    return len(encoding.values[encoding.names.index(ATTENTION)]) if ATTENTION in encoding.names else 0


def _half_on_cpu(encoding: Encoding) -> Floats:
    """Where oneDNN compiles kernels in half precision, for every length of a micro-batch its own."""
    device = encoding.space.device
    if PRECISION not in encoding.names or (device and device.kind != "cpu"):
        return np.zeros(len(encoding))
    values = encoding.values[encoding.names.index(PRECISION)]
    is_half = np.array([value == "bf16" for value in values], dtype=np.float64)  # fp16 is fp32 there
    return np.asarray(is_half[encoding.column(PRECISION)], dtype=np.float64)


def _prior(encoding: Encoding) -> tuple[Floats, Floats]:
    """Half of the first trial's memory is expected to grow with the micro-batch, give or take a third."""
    base, slope = [(0.5, 0.3)], [(0.5, 0.3)]
    for name, values in zip(encoding.names, encoding.values, strict=True):
        if name != MICRO_BATCH:
            base += [(_BASE_MEAN.get((name, value), 0.0), _BASE_SD.get(name, _OTHER_SD)) for value in values]
            slope += [(_SLOPE_MEAN.get((name, value), 0.0), _SLOPE_SD.get(name, _OTHER_SD)) for value in values]
    both = np.array([*base, *slope, *KERNELS, *[KERNELS_OF_ATTENTION] * _num_attentions(encoding)])
    return both[:, 0], both[:, 1]


def _condition(
    mean: Floats, covariance: Floats, features: Floats, values: Floats, noise: Floats
) -> tuple[Floats, Floats]:
    """Posterior of linear-Gaussian weights."""
    cross = covariance @ features.T
    gain = np.linalg.solve(features @ cross + np.diag(noise**2), cross.T).T
    return mean + gain @ (values - features @ mean), covariance - gain @ cross.T
