"""Observations become beliefs about the step time of every candidate: a Gaussian process on the log of each part.

Each part of the step (data, compute, optimizer, rest) is a sum of effects (`priors`), so that one trial teaches
about all candidates that share something with it. One more unknown is common to the parts of a trial: how slow the
machine was just then. It drifts (an Ornstein-Uhlenbeck process), and the time to build the workload, the same work
in every trial, tells of it. All is jointly Gaussian, so the posterior is exact (Rasmussen & Williams, *Gaussian
Processes for Machine Learning*, 2.2); it is drawn from by Matheron's rule (Wilson et al., 2020, arXiv:2002.09309).
What is not Gaussian, the overhead of the batch curve and the roughness of the machine, is a small set of hypotheses,
each weighed by its evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

import numpy as np

from perftune.records.candidate import OPTIMIZER, PRECISION
from perftune.search.encoding import Encoding, Floats, Ints
from perftune.search.observations import PARTS, Observation
from perftune.search.predictions import Predictions, predictions
from perftune.search.priors import (
    CURVE_OCTAVES,
    HOST_FACTORS,
    OPTIMIZER_FAMILY,
    OVERHEADS,
    REST_OVERHEAD,
    Term,
    mean,
    optimizer_family,
    precision_factors,
    terms,
)


class Machine(NamedTuple):
    """How steady the machine is, as standard deviations of log seconds."""

    part: float
    """Of one part of one trial, on its own."""
    trial: float
    """Of a whole trial, against its neighbours."""
    drift: float
    """Of the slow changes of speed."""
    weight: float
    """How probable before any trial."""


MACHINES = (
    Machine(part=0.012, trial=0.01, drift=0.01, weight=0.35),
    Machine(part=0.03, trial=0.04, drift=0.06, weight=0.45),
    Machine(part=0.06, trial=0.15, drift=0.6, weight=0.2),
)

DRIFT_SECONDS = 120.0
"""Time over which the speed of the machine forgets itself."""

BUILD_SD = 0.12
"""Spread of the log of the build time on a steady machine; the first build, with cold caches, has more."""
FIRST_BUILD_SD = 0.6

DISTURBED_SD = 1.0
"""Slowness of a trial that something else on the machine disturbed."""
DISTURBED_LOG_ODDS = float(np.log(0.03 / 0.97))

SMALL_PART_SHARE = 0.003
"""Timer and attribution error, as a share of the step."""


@dataclass
class _Posterior:
    """One hypothesis, conditioned on the observations."""

    overhead: float
    """One of `OVERHEADS`; with a prior of traces one of `HOST_FACTORS`."""
    machine: Machine
    log_weight: float
    solve: Floats
    """Inverse of the covariance of all observed values."""
    residual: Floats
    """Observed values less their prior means."""


@dataclass
class TimeModel:
    """Beliefs about log seconds per optimizer step, from observations of one study."""

    encoding: Encoding
    observations: Sequence[Observation]
    disturbed: set[int] = field(default_factory=set)
    """Positions of observations that look disturbed; only the ratios of their parts are believed."""

    def __post_init__(self) -> None:
        self._rows: Ints = np.array([o.row for o in self.observations])
        self._values = np.array([o.log_parts for o in self.observations])
        self._traced = self._predictions()
        knows_rates = self._traced is not None and self._traced.has_rates
        self._terms = {
            part: terms(part, self.encoding.names, is_traced=self._traced is not None, knows_rates=knows_rates)
            for part in PARTS
        }
        self._effects = {part: self._mean_effects(part) for part in PARTS}
        self._per_sample, self._per_micro_batch = self._precision_factors()
        self._octaves: Floats = np.log2(self.encoding.micro_batch)
        self._kernels = [self.covariance(part, self._rows, self._rows) for part in PARTS]
        self._posteriors = self._condition()
        self._find_disturbed()

    def _predictions(self) -> Predictions | None:
        """Only whole ones: between a prediction and a neighbour's the effects of knobs would be missing."""
        traced = predictions(self.encoding)
        return traced if traced and traced.is_complete and traced.kernel_seconds is not None else None

    @property
    def roughness(self) -> float:
        """How probable it is that the machine drifts badly."""
        return sum(weight for weight, p in self._weighted() if p.machine is MACHINES[-1])

    @property
    def noise_variance(self) -> float:
        """Variance of the log of the total of one more trial, its place in the drift aside."""
        spread = float(np.median([o.spread for o in self.observations]))
        own = sum(weight * (p.machine.part**2 + p.machine.trial**2) for weight, p in self._weighted())
        return own + spread**2

    def covariance(self, part: str, a: Ints, b: Ints) -> Floats:
        """Prior covariance of a part's log seconds between two lists of rows."""
        total = np.zeros((len(a), len(b)))
        same: dict[str, Floats] = {}
        x = self._octaves[a][:, None], self._octaves[b][None, :]
        curve = np.exp(-0.5 * ((x[0] - x[1]) / CURVE_OCTAVES) ** 2)
        centre = self._octaves[self._rows[0]]
        line = (x[0] - centre) * (x[1] - centre)
        for term in self._terms[part]:
            product_ = self._shape(term, curve, line)
            for name in term.knobs:
                if name not in same:
                    column = self._column(name)
                    same[name] = (column[a][:, None] == column[b][None, :]).astype(float)
                product_ = product_ * same[name]
            total += term.sd**2 * product_
        return total

    def _column(self, name: str) -> Ints:
        """The codes of a knob, or of what its values have in common."""
        if name != OPTIMIZER_FAMILY:
            return self.encoding.column(name)
        position = self.encoding.names.index(OPTIMIZER)
        families = [optimizer_family(value) for value in self.encoding.values[position]]
        codes = np.array([families.index(family) for family in families])
        return np.asarray(codes[self.encoding.column(OPTIMIZER)], dtype=np.int64)

    @staticmethod
    def _shape(term: Term, curve: Floats, line: Floats) -> Floats:
        return curve if term.batch == "curve" else line if term.batch == "line" else np.ones_like(curve)

    def _mean_effects(self, part: str) -> Floats:
        """Prior mean effect of the knobs, of every candidate."""
        total = np.zeros(len(self.encoding))
        for column, (name, values) in enumerate(zip(self.encoding.names, self.encoding.values, strict=True)):
            is_traced = self._traced is not None
            effects = np.array(
                [mean(part, name, value, self.encoding.space.device, is_traced=is_traced) for value in values]
            )
            total += effects[self.encoding.codes[:, column]]
        return total

    def _precision_factors(self) -> tuple[Floats, Floats]:
        """What the precision is expected to do to the time per sample, and to the overhead of a micro-batch."""
        ones = np.ones(len(self.encoding))
        if PRECISION not in self.encoding.names:
            return ones, ones
        values = self.encoding.values[self.encoding.names.index(PRECISION)]
        factors = np.array([precision_factors(str(value), self.encoding.space.device) for value in values])
        chosen = factors[self.encoding.column(PRECISION)]
        return chosen[:, 0], chosen[:, 1]

    def _prior_mean(self, part: str, overhead: float, rows: Ints) -> Floats:
        """Prior mean of log seconds: as the first observation, moved by what the knobs are expected to do."""
        size = self.encoding.micro_batch
        shape = self._effects[part].copy()
        if part == "compute" and self._traced is not None:
            factor = np.ones(len(size)) if self._traced.has_rates else self._per_sample
            shape += self._traced.log_compute(factor, overhead)
        elif part == "compute":
            shape += np.log(self._per_sample + self._per_micro_batch * overhead / size)
        elif part == "rest":
            shape += np.log1p(REST_OVERHEAD / size)
        first = self._rows[0]
        means: Floats = self._values[0][PARTS.index(part)] + shape[rows] - shape[first]
        return means

    def _condition(self) -> list[_Posterior]:
        overheads = OVERHEADS if self._traced is None else HOST_FACTORS
        return [self._posterior(overhead, machine) for overhead, machine in product(overheads, MACHINES)]

    def _noise(self, machine: Machine, disturbed: set[int]) -> tuple[Floats, Floats]:
        """Covariance of the machine's slowness between trials, and of everything observed, parts stacked."""
        n = len(self.observations)
        clock = np.array([o.clock_seconds for o in self.observations])
        slowness = machine.drift**2 * np.exp(-np.abs(clock[:, None] - clock[None, :]) / DRIFT_SECONDS)
        slowness += np.diag([machine.trial**2 + DISTURBED_SD**2 * (i in disturbed) for i in range(n)])
        spread = np.array([o.spread for o in self.observations])
        shares = np.exp(self._values - np.array([[o.log_total] for o in self.observations]))
        own = [machine.part**2 + spread**2 + (SMALL_PART_SHARE / shares[:, i]) ** 2 for i in range(len(PARTS))]
        return slowness, np.concatenate(own)

    def _posterior(self, overhead: float, machine: Machine, disturbed: set[int] | None = None) -> _Posterior:
        disturbed = self.disturbed if disturbed is None else disturbed
        n, p = len(self.observations), len(PARTS)
        slowness, own = self._noise(machine, disturbed)
        built = [i for i, o in enumerate(self.observations) if o.log_build_seconds is not None]
        link = np.vstack([np.tile(np.eye(n), (p, 1)), np.eye(n)[built]])
        covariance = link @ slowness @ link.T
        for i, kernel in enumerate(self._kernels):
            covariance[i * n : (i + 1) * n, i * n : (i + 1) * n] += kernel
        build_sd = np.array([FIRST_BUILD_SD if i == 0 else BUILD_SD for i in built])
        covariance[p * n :, p * n :] += 1.0
        covariance += np.diag(np.concatenate([own, build_sd**2]))
        residual = np.concatenate([self._values[:, i] - self._prior_mean(part, overhead, self._rows)
                                   for i, part in enumerate(PARTS)] + [self._builds(built)])  # fmt: skip
        factor = np.linalg.cholesky(covariance)
        white = np.linalg.solve(factor, residual)
        inverse = np.linalg.solve(factor.T, np.linalg.solve(factor, np.eye(len(factor))))
        evidence = -0.5 * float(white @ white) - float(np.log(np.diag(factor)).sum())
        return _Posterior(overhead, machine, evidence + float(np.log(machine.weight)), inverse, residual)

    def _builds(self, built: list[int]) -> Floats:
        logs = np.array([self.observations[i].log_build_seconds for i in built], dtype=float)
        return logs - np.median(logs) if len(logs) else logs

    def _weighted(self) -> list[tuple[float, _Posterior]]:
        logs = np.array([p.log_weight for p in self._posteriors])
        weights = np.exp(logs - logs.max())
        return list(zip((weights / weights.sum()).tolist(), self._posteriors, strict=True))

    @property
    def _best(self) -> _Posterior:
        return max(self._posteriors, key=lambda p: p.log_weight)

    def _find_disturbed(self) -> None:
        """Mark, one by one, the observations that are explained much better as disturbed."""
        while len(self.disturbed) < len(self.observations) // 3:
            best = self._best
            gains = {
                i: self._posterior(best.overhead, best.machine, self.disturbed | {i}).log_weight - best.log_weight
                for i in range(1, len(self.observations))
                if i not in self.disturbed
            }
            worst = max(gains, key=lambda i: gains[i])
            if gains[worst] + DISTURBED_LOG_ODDS <= 0:
                return
            self.disturbed = self.disturbed | {worst}
            self._posteriors = self._condition()

    def mean_log_seconds(self, rows: Ints) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the log seconds per step, by the most probable hypothesis."""
        best = self._best
        n = len(self.observations)
        alpha = best.solve @ best.residual
        first, second = np.zeros(len(rows)), np.zeros(len(rows))
        for i, part in enumerate(PARTS):
            cross = self.covariance(part, rows, self._rows)
            block = slice(i * n, (i + 1) * n)
            centre = self._prior_mean(part, best.overhead, rows) + cross @ alpha[block]
            prior = sum(t.sd**2 * (self._line_scale(rows) if t.batch == "line" else 1.0) for t in self._terms[part])
            variance = np.maximum(prior - np.einsum("ij,jk,ik->i", cross, best.solve[block, block], cross), 1e-6)
            seconds = np.exp(np.minimum(centre + variance / 2, 50.0))
            first += seconds
            second += np.expm1(np.minimum(variance, 4.0)) * seconds**2
        variance = np.log1p(second / first**2)
        return np.log(first) - variance / 2, np.sqrt(variance)

    def _line_scale(self, rows: Ints) -> Floats:
        scale: Floats = (self._octaves[rows] - self._octaves[self._rows[0]]) ** 2
        return scale

    def part_samples(self, rows: Ints, num: int, rng: np.random.Generator) -> Floats:
        """Joint draws of log seconds, on a machine of ordinary speed: part × draw × row."""
        counts = self._counts(num)
        n, p = len(self.observations), len(PARTS)
        joint = np.concatenate([self._rows, rows])
        draws = []
        for part in PARTS:
            covariance = self.covariance(part, joint, joint) + 1e-9 * np.eye(len(joint))
            draws.append(rng.standard_normal((num, len(joint))) @ np.linalg.cholesky(covariance).T)
        result = np.empty((p, num, len(rows)))
        start = 0
        for count, posterior in counts:
            chosen = slice(start, start + count)
            start += count
            deviation = self._deviation(posterior, [draw[chosen, :n] for draw in draws], rng)
            correction = deviation @ posterior.solve
            for i, part in enumerate(PARTS):
                cross = self.covariance(part, self._rows, rows)
                centre = self._prior_mean(part, posterior.overhead, rows)
                shift = correction[:, i * n : (i + 1) * n] @ cross
                result[i, chosen] = centre + draws[i][chosen, n:] + shift
        return result

    def _counts(self, num: int) -> list[tuple[int, _Posterior]]:
        """How many of the draws each hypothesis gets: its weight, rounded so that they add up."""
        ranked = sorted(self._weighted(), key=lambda pair: -pair[0])
        edges = np.round(np.cumsum([weight for weight, _ in ranked]) * num).astype(int)
        counts = np.diff(np.concatenate([[0], edges[:-1], [num]]))
        return [(int(count), posterior) for count, (_, posterior) in zip(counts, ranked, strict=True) if count]

    def _deviation(self, posterior: _Posterior, functions: list[Floats], rng: np.random.Generator) -> Floats:
        """Observed residuals less residuals drawn from the prior: draw × observed value."""
        n, num = len(self.observations), len(functions[0])
        slowness, own = self._noise(posterior.machine, self.disturbed)
        shared = rng.standard_normal((num, n)) @ np.linalg.cholesky(slowness + 1e-12 * np.eye(n)).T
        built = [i for i, o in enumerate(self.observations) if o.log_build_seconds is not None]
        build_sd = np.array([FIRST_BUILD_SD if i == 0 else BUILD_SD for i in built])
        parts = np.concatenate([f + shared for f in functions], axis=1)
        parts += rng.standard_normal(parts.shape) * np.sqrt(own)
        level = rng.standard_normal((num, 1))
        builds = shared[:, built] + level + rng.standard_normal((num, len(built))) * build_sd
        return np.asarray(posterior.residual - np.concatenate([parts, builds], axis=1), dtype=np.float64)


def log_total(parts: Floats) -> Floats:
    """Log seconds per step from the log seconds of its parts (first axis)."""
    top = parts.max(axis=0)
    return np.asarray(top + np.log(np.exp(parts - top).sum(axis=0)), dtype=np.float64)
