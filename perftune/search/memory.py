"""Peaks and OOMs of the trials so far become, for every candidate, a predicted peak and the chance that it fits.

Peak memory is close to affine in the micro-batch: ``base(optimizer, precision, …) + micro_batch × slope(arm)``. Both
sums have hand-set priors, in units of what the first completed trial took beyond its start, and an exact Gaussian
posterior. What is certain is not left to it: nothing at or above a known OOM of the same or a hungrier arm is tried.
"""

import math
from collections.abc import Sequence

import numpy as np

from perftune.records.candidate import ATTENTION, CHECKPOINTING, COMPILE, MICRO_BATCH, OPTIMIZER, PRECISION
from perftune.records.trial import Trial
from perftune.search.encoding import Bools, Encoding, Floats
from perftune.search.strategy import OUT_OF_MEMORY, fits

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

NOISE = 0.03
"""Relative spread of a peak that the affine form does not explain."""
FARTHEST = 8.0
"""Predictions for micro-batches this many times larger than any that has run are believed ever less."""
OOM_EXCESS = 1.15
"""A trial that ran out of memory is taken to have needed about this much of the limit …"""
OOM_SD = 0.2
"""… give or take this part of it."""


class MemoryModel:
    """Beliefs about the peak memory of every candidate."""

    def __init__(self, encoding: Encoding, trials: Sequence[Trial]) -> None:
        self._encoding = encoding
        self._trials = [(row, trial) for trial in trials if (row := encoding.number(trial.candidate)) is not None]
        self._peaks = [(row, t.measurement.memory) for row, t in self._trials if t.measurement is not None]
        self.excluded = self._excluded()
        """Candidates that cannot fit, by a known OOM or a known peak."""
        if self._peaks:
            first_row, first = self._peaks[0]
            self._start = float(first.start_bytes)
            self._unit = max(first.peak_bytes - first.start_bytes, 0.01 * first.peak_bytes, 1)
            self._features = _features(encoding, first_row)
            self._mean, self._covariance = self._fit()

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
                known |= self._encoding.same_arm(row) & (size <= size[row])
        return known & ~self.excluded

    def _fit(self) -> tuple[Floats, Floats]:
        mean, sd = _prior(self._encoding)
        rows = [row for row, _ in self._peaks]
        values = np.array([(m.peak_bytes - self._start) / self._unit for _, m in self._peaks])
        noise = NOISE * np.maximum(np.abs(values), 1.0)
        mean, covariance = _condition(mean, np.diag(sd**2), self._features[rows], values, noise)
        limit = self._encoding.space.memory_limit_bytes
        for row, trial in self._trials:
            if trial.outcome in OUT_OF_MEMORY:
                features = self._features[[row]]
                if float(features[0] @ mean) < (limit - self._start) / self._unit:
                    value = np.array([(OOM_EXCESS * limit - self._start) / self._unit])
                    mean, covariance = _condition(
                        mean, covariance, features, value, np.array([OOM_SD * limit / self._unit])
                    )
        return mean, covariance

    def peak_bytes(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of every candidate's peak; None was completed: unknown (NaN)."""
        if not self._peaks:
            unknown = np.full(len(self._encoding), np.nan)
            return unknown, unknown
        mean = self._features @ self._mean
        variance = np.einsum("ij,jk,ik->i", self._features, self._covariance, self._features)
        variance += (NOISE * np.maximum(mean, 1.0)) ** 2
        return self._start + self._unit * mean, self._unit * np.sqrt(variance)

    def fit_probability(self) -> Floats:
        """The chance of every candidate to stay within the memory that the recommendation may use."""
        if self._peaks:
            mean, sd = self.peak_bytes()
            z = (self._encoding.space.usable_memory_bytes - mean) / sd
            probability = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in z])
            probability /= np.maximum(1.0, self._encoding.micro_batch / self._largest_believed())
        else:
            probability = np.full(len(self._encoding), 0.5)
        probability[self._known_to_fit()] = 1.0
        probability[self.excluded] = 0.0
        return probability

    def _largest_believed(self) -> float:
        size = self._encoding.micro_batch
        return FARTHEST * float(max(size[row] for row, _ in self._peaks))

    def log_samples(self, num: int, rng: np.random.Generator) -> Floats:
        """Joint draws of the log of every candidate's peak: draw × candidate."""
        factor = np.linalg.cholesky(self._covariance + 1e-10 * np.eye(len(self._mean)))
        weights = self._mean + rng.standard_normal((num, len(self._mean))) @ factor.T
        peaks = self._start + self._unit * (weights @ self._features.T)
        return np.asarray(np.log(np.maximum(peaks, self._start + 0.01 * self._unit)), dtype=np.float64)


def hungrier(encoding: Encoding, row: int) -> Bools:
    """Candidates that need at least the memory of this one: no smaller a micro-batch, and no checkpointing if it had none.

    Other knobs must agree: which precision or optimizer needs more is for the measurements to say.
    """  # noqa: E501
    others = [name for name in encoding.names if name not in (MICRO_BATCH, CHECKPOINTING)]
    result: Bools = encoding.equal(row, others) & (encoding.micro_batch >= encoding.micro_batch[row])
    if CHECKPOINTING in encoding.names:
        saves = np.array([value is True for value in encoding.values[encoding.names.index(CHECKPOINTING)]])
        saving = saves[encoding.column(CHECKPOINTING)]
        result &= ~saving | saving[row]
    return result


def _features(encoding: Encoding, reference: int) -> Floats:
    size = encoding.micro_batch / encoding.micro_batch[reference]
    columns = [np.ones(len(encoding))]
    for name, values in zip(encoding.names, encoding.values, strict=True):
        if name != MICRO_BATCH:
            columns += [(encoding.column(name) == i).astype(float) for i in range(len(values))]
    base = np.stack(columns, axis=1)
    return np.concatenate([base, base * size[:, None]], axis=1)


def _prior(encoding: Encoding) -> tuple[Floats, Floats]:
    """Half of the first trial's memory is expected to grow with the micro-batch, give or take a third."""
    base, slope = [(0.5, 0.3)], [(0.5, 0.3)]
    for name, values in zip(encoding.names, encoding.values, strict=True):
        if name != MICRO_BATCH:
            base += [(_BASE_MEAN.get((name, value), 0.0), _BASE_SD.get(name, _OTHER_SD)) for value in values]
            slope += [(_SLOPE_MEAN.get((name, value), 0.0), _SLOPE_SD.get(name, _OTHER_SD)) for value in values]
    both = np.array(base + slope)
    return both[:, 0], both[:, 1]


def _condition(
    mean: Floats, covariance: Floats, features: Floats, values: Floats, noise: Floats
) -> tuple[Floats, Floats]:
    """Posterior of linear-Gaussian weights."""
    cross = covariance @ features.T
    gain = np.linalg.solve(features @ cross + np.diag(noise**2), cross.T).T
    return mean + gain @ (values - features @ mean), covariance - gain @ cross.T
