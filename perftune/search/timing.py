"""Observations become beliefs about the step time of every candidate: a Gaussian process on the log of each part.

Each part of the step (data, compute, optimizer, rest) is a sum of effects (`priors`), so that one trial teaches
about all candidates that share something with it. One more unknown is common to the parts of a trial: how slow the
machine was just then (`machine`). It drifts (an Ornstein-Uhlenbeck process), and the time to build the workload, the
same work in every trial, tells of it. All is jointly Gaussian, so the posterior is exact (Rasmussen & Williams,
*Gaussian Processes for Machine Learning*, 2.2); it is drawn from by Matheron's rule (Wilson et al., 2020,
arXiv:2002.09309). What is not Gaussian, the overhead of the batch curve and the roughness of the machine, is a small
set of hypotheses, each weighed by its evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from perftune.records.candidate import ATTENTION, PRECISION, WORKERS
from perftune.search.encoding import Encoding, Floats, Ints
from perftune.search.kernels import Kernels
from perftune.search.machine import DISTURBANCES, MACHINES, Factors, Noise, Residuals
from perftune.search.observations import PARTS, Observation
from perftune.search.predictions import Predictions
from perftune.search.priors import (
    HOST_FACTORS,
    OVERHEADS,
    REST_OVERHEAD,
    mean,
    pair_mean,
    precision_factors,
    waiting_seconds,
)

MOST_AT_ONCE = 4096
"""Candidates whose covariance with the trials is held in memory at a time."""


@dataclass
class _Hypothesis:
    """One of the things that may be so, with what was observed beside it."""

    overhead: float
    """One of `OVERHEADS`; with a prior of traces one of `HOST_FACTORS`."""
    factors: Factors
    residuals: Residuals
    """Observed values less their prior means."""

    def __post_init__(self) -> None:
        self.told = self.factors.told(self.residuals)
        self._unexplained = self.factors.unexplained(self.residuals)

    @property
    def log_weight(self) -> float:
        """Log of prior times evidence, up to a constant."""
        return self.factors.evidence(self._unexplained, self.told) + float(np.log(self.factors.noise.machine.weight))


@dataclass
class TimeModel:
    """Beliefs about log seconds per optimizer step, from observations of one study."""

    encoding: Encoding
    observations: Sequence[Observation]
    predicted: Predictions | None = None
    """What traces say of the candidates of the encoding."""
    disturbed: dict[int, float] = field(default_factory=dict)
    """Positions of observations that look disturbed, and how much: of these the ratios of their parts are believed."""

    def __post_init__(self) -> None:
        self._rows: Ints = np.array([o.row for o in self.observations])
        self._values = np.array([o.log_parts for o in self.observations])
        # Only whole predictions: between a prediction and a neighbour's the effects of knobs would be missing.
        self._traced = self.predicted if self.predicted and self.predicted.has_all_seconds else None
        knows_rates = self._traced is not None and self._traced.has_rates
        self.kernels = Kernels(
            self.encoding, int(self._rows[0]), is_traced=self._traced is not None, knows_rates=knows_rates
        )
        self._hypotheses = self._suppose()
        self._find_disturbed()

    @property
    def roughness(self) -> float:
        """How probable it is that the machine drifts badly."""
        return sum(weight for weight, h in self._weighted if h.factors.noise.machine is MACHINES[-1])

    @property
    def noise_variance(self) -> float:
        """Variance of the log of the total of one more trial, its place in the drift aside."""
        spread = float(np.median([o.spread for o in self.observations]))
        machines = [(weight, h.factors.noise.machine) for weight, h in self._weighted]
        return sum(weight * (m.part**2 + m.trial**2) for weight, m in machines) + spread**2

    def _mean_effects(self, part: str, rows: Ints) -> Floats:
        """Prior mean effect of the knobs."""
        total = np.zeros(len(rows))
        is_traced, device = self._traced is not None, self.encoding.space.device
        for column, (name, values) in enumerate(zip(self.encoding.names, self.encoding.values, strict=True)):
            effects = np.array([mean(part, name, value, device, is_traced=is_traced) for value in values])
            if effects.any():
                total += effects[self.encoding.codes[rows, column]]
        return total + self._pair_effects(rows) if part == "compute" else total

    def _pair_effects(self, rows: Ints) -> Floats:
        """Prior mean effect of precision and attention together."""
        names, values, device = self.encoding.names, self.encoding.values, self.encoding.space.device
        if PRECISION not in names or ATTENTION not in names:
            return np.zeros(len(rows))
        precisions, attentions = values[names.index(PRECISION)], values[names.index(ATTENTION)]
        effects = np.array([[pair_mean(p, a, device) for a in attentions] for p in precisions])
        return effects[self.encoding.column(PRECISION)[rows], self.encoding.column(ATTENTION)[rows]]

    def _precision_factors(self, rows: Ints) -> tuple[Floats, Floats]:
        """What the precision is expected to do to the time per sample, and to the overhead of a micro-batch."""
        if PRECISION not in self.encoding.names:
            return np.ones(len(rows)), np.ones(len(rows))
        values = self.encoding.values[self.encoding.names.index(PRECISION)]
        factors = np.array([precision_factors(str(value), self.encoding.space.device) for value in values])
        chosen = factors[self.encoding.column(PRECISION)[rows]]
        return chosen[:, 0], chosen[:, 1]

    def _prior_mean(self, part: str, overhead: float, rows: Ints) -> Floats:
        """Prior mean of log seconds: as the first observation, moved by what the knobs are expected to do."""
        first, *others = self._shape(part, overhead, np.concatenate([self._rows[:1], rows]))
        return np.asarray(self._values[0][PARTS.index(part)] + np.array(others) - first, dtype=np.float64)

    def _shape(self, part: str, overhead: float, rows: Ints) -> Floats:
        shape, size = self._mean_effects(part, rows), self.encoding.micro_batch[rows]
        if part == "rest":
            return np.asarray(shape + np.log1p(REST_OVERHEAD / size), dtype=np.float64)
        if part == "data":
            return shape + self._waiting(rows)
        if part != "compute":
            return shape
        per_sample, per_micro_batch = self._precision_factors(rows)
        if self._traced is None:
            return np.asarray(shape + np.log(per_sample + per_micro_batch * overhead / size), dtype=np.float64)
        factor = np.ones(len(rows)) if self._traced.has_rates else per_sample
        return shape + self._traced.log_compute(rows, factor, overhead)

    def _waiting(self, rows: Ints) -> Floats:
        """Log seconds that a step is expected to wait for data, as the first observation tells."""
        if WORKERS not in self.encoding.names:
            return np.zeros(len(rows))
        numbers = np.array([float(str(value)) for value in self.encoding.values[self.encoding.names.index(WORKERS)]])
        num_workers = numbers[self.encoding.column(WORKERS)]
        seconds = np.exp(self._values[0])
        data = float(seconds[PARTS.index("data")])
        first = int(num_workers[self._rows[0]])
        return np.log(waiting_seconds(num_workers[rows], first, data, float(seconds.sum()) - data))

    def _suppose(self) -> list[_Hypothesis]:
        kernels = [self.kernels.covariance(part, self._rows, self._rows) for part in PARTS]
        factors = [Factors(Noise(machine, self.observations), kernels) for machine in MACHINES]
        overheads = OVERHEADS if self._traced is None else HOST_FACTORS
        residuals = [self._residuals(overhead) for overhead in overheads]
        return [_Hypothesis(o, f, r) for o, r in zip(overheads, residuals, strict=True) for f in factors]

    def _residuals(self, overhead: float) -> Residuals:
        parts = [self._values[:, i] - self._prior_mean(part, overhead, self._rows) for i, part in enumerate(PARTS)]
        builds = np.array([o.log_build_seconds for o in self.observations if o.log_build_seconds is not None], float)
        return Residuals(parts, builds - np.median(builds) if len(builds) else builds)

    @cached_property
    def _weighted(self) -> list[tuple[float, _Hypothesis]]:
        logs = np.array([h.log_weight for h in self._hypotheses])
        weights = np.exp(logs - logs.max())
        return list(zip((weights / weights.sum()).tolist(), self._hypotheses, strict=True))

    def _find_disturbed(self) -> None:
        """Mark, one by one, the observations that are explained much better as disturbed."""
        while len(self.disturbed) < len(self.observations) // 3:
            best = max(self._hypotheses, key=lambda h: h.log_weight)
            gains = np.array([best.factors.gains_if_disturbed(best.told, sd) + np.log(odds / (1 - odds))
                              for sd, odds in DISTURBANCES])  # fmt: skip
            gains[:, [0, *self.disturbed]] = -np.inf
            size, worst = np.unravel_index(np.argmax(gains), gains.shape)
            if gains[size, worst] <= 0:
                return
            sd = DISTURBANCES[size][0]
            self.disturbed[int(worst)] = sd
            for factors in {id(h.factors): h.factors for h in self._hypotheses}.values():
                factors.disturb(int(worst), sd)

    def mean_log_seconds(self, rows: Ints) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the log seconds per step, by the most probable hypothesis."""
        _, best = max(self._weighted, key=lambda pair: pair[0])
        weights = best.factors.weights(best.residuals)
        blocks = [best.factors.block(i) for i in range(len(PARTS))]
        halves = [self._moments(rows[start : start + MOST_AT_ONCE], best.overhead, weights, blocks)
                  for start in range(0, len(rows), MOST_AT_ONCE)]  # fmt: skip
        first, second = (np.concatenate(half) for half in zip(*halves, strict=True))
        variance = np.log1p(second / first**2)
        return np.log(first) - variance / 2, np.sqrt(variance)

    def _moments(
        self, rows: Ints, overhead: float, weights: list[Floats], blocks: list[Floats]
    ) -> tuple[Floats, Floats]:
        """Mean and variance of the seconds per step; each part is taken to be lognormal and they to be independent."""
        first, second = np.zeros(len(rows)), np.zeros(len(rows))
        for part, weight, block in zip(PARTS, weights, blocks, strict=True):
            cross = self.kernels.covariance(part, rows, self._rows)
            centre = self._prior_mean(part, overhead, rows) + cross @ weight
            explained = np.einsum("ij,ij->i", cross @ block, cross)
            variance = np.maximum(self.kernels.variance(part, rows) - explained, 1e-6)
            seconds = np.exp(np.minimum(centre + variance / 2, 50.0))
            first += seconds
            second += np.expm1(np.minimum(variance, 4.0)) * seconds**2
        return first, second

    def part_samples(self, rows: Ints, num: int, rng: np.random.Generator) -> Floats:
        """Joint draws of log seconds, on a machine of ordinary speed: part × draw × row."""
        joint, places = np.unique(np.concatenate([self._rows, rows]), return_inverse=True)
        seen, wanted = places[: len(self._rows)], places[len(self._rows) :]
        covariances = [self.kernels.covariance(part, joint, joint) for part in PARTS]
        draws = []
        for covariance in covariances:
            factor = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(joint)))
            draws.append(rng.standard_normal((num, len(joint))) @ factor.T)
        result = np.empty((len(PARTS), num, len(rows)))
        start = 0
        for count, hypothesis in self._counts(num):
            chosen = slice(start, start + count)
            start += count
            functions = [draw[chosen][:, seen] for draw in draws]
            deviations = hypothesis.factors.deviations(hypothesis.residuals, functions, self.disturbed, rng)
            weights = hypothesis.factors.weights(deviations)
            for i, part in enumerate(PARTS):
                centre = self._prior_mean(part, hypothesis.overhead, rows)
                told = weights[i] @ covariances[i][np.ix_(seen, wanted)]
                result[i, chosen] = centre + draws[i][chosen][:, wanted] + told
        return result

    def _counts(self, num: int) -> list[tuple[int, _Hypothesis]]:
        """How many of the draws each hypothesis gets: its weight, rounded so that they add up."""
        ranked = sorted(self._weighted, key=lambda pair: -pair[0])
        edges = np.round(np.cumsum([weight for weight, _ in ranked]) * num).astype(int)
        counts = np.diff(np.concatenate([[0], edges[:-1], [num]]))
        return [(int(count), hypothesis) for count, (_, hypothesis) in zip(counts, ranked, strict=True) if count]


def log_total(parts: Floats) -> Floats:
    """Log seconds per step from the log seconds of its parts (first axis)."""
    top = parts.max(axis=0)
    return np.asarray(top + np.log(np.exp(parts - top).sum(axis=0)), dtype=np.float64)
