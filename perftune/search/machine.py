"""How steady the machine is becomes a belief about everything observed: parts of a step, slowness of trials, builds.

Observed are, of n trials, the log seconds of the parts of a step and of the build. Each part is a Gaussian process with
noise of its own, and the slowness of a trial is added to all its parts and to its build. So the covariance of these 5 n
values is a block for each part, which the slowness joins. The blocks are factorised by themselves; what they tell of
the slowness is as good as one observation of it for every trial, ``s + e`` with ``e ~ N(0, blurring)``, and all else
follows from matrices of n rows (the matrix inversion lemma: Rasmussen & Williams, *Gaussian Processes for Machine
Learning*, A.3). That a trial was disturbed adds to one element of the diagonal, so it is weighed for all at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from perftune.search.encoding import Floats, Ints
from perftune.search.observations import PARTS, Observation


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
    Machine(part=0.012, trial=0.01, drift=0.01, weight=0.3),
    Machine(part=0.03, trial=0.04, drift=0.06, weight=0.35),
    Machine(part=0.03, trial=0.15, drift=0.06, weight=0.15),
    Machine(part=0.06, trial=0.15, drift=0.6, weight=0.2),
)

DRIFT_SECONDS = 120.0
"""Time over which the speed of the machine forgets itself."""

BUILD_SD = 0.07
"""Spread of the log of the build time on a steady machine; the first build, with cold caches, has more."""
FIRST_BUILD_SD = 0.6

DISTURBANCES = ((0.2, 0.1), (1.0, 0.03))
"""Slowness of a trial that something else on the machine disturbed, a little or much; and how often that happens."""

SMALL_PART_SHARE = 0.003
"""Timer and attribution error, as a share of the step."""


@dataclass
class Residuals:
    """Observed values less what is expected of them; the last axis of each array counts trials or builds."""

    parts: list[Floats]
    builds: Floats


class Noise:
    """What is observed besides the parts themselves, on one kind of machine."""

    def __init__(self, machine: Machine, observations: Sequence[Observation]) -> None:
        self.machine = machine
        clock = np.array([o.clock_seconds for o in observations])
        self.slowness: Floats = machine.drift**2 * np.exp(-np.abs(clock[:, None] - clock[None, :]) / DRIFT_SECONDS)
        """Covariance of the slowness of trials, none of them disturbed."""
        self.slowness += machine.trial**2 * np.eye(len(clock))
        spread = np.array([o.spread for o in observations])
        logs = np.array([o.log_parts for o in observations])
        shares = np.exp(logs - np.array([[o.log_total] for o in observations]))
        own = machine.part**2 + spread[:, None] ** 2 + (SMALL_PART_SHARE / shares) ** 2
        self.own: list[Floats] = list(own.T)
        """Variances of each part's own noise, by trial."""
        self.built: Ints = np.array([i for i, o in enumerate(observations) if o.log_build_seconds is not None], int)
        """Trials whose build was timed."""
        self.build_sd: Floats = np.hypot(np.where(self.built == 0, FIRST_BUILD_SD, BUILD_SD), machine.trial)

    def with_disturbed(self, disturbed: Mapping[int, float]) -> Floats:
        """The covariance of slowness with more of it where a trial is disturbed.

        Args:
            disturbed: how much, as a standard deviation, by the position of the trial.
        """
        slowness = self.slowness.copy()
        for trial, sd in disturbed.items():
            slowness[trial, trial] += sd**2
        return slowness


class Factors:
    """The covariance of everything observed on one kind of machine, factorised by blocks.

    Args:
        noise: of that machine.
        kernels: prior covariance of each part between the trials.
    """

    def __init__(self, noise: Noise, kernels: Sequence[Floats]) -> None:
        self.noise = noise
        blocks = [_inverse(kernel + np.diag(own)) for kernel, own in zip(kernels, noise.own, strict=True)]
        self.inverses = [inverse for inverse, _ in blocks]
        num_builds = len(noise.built)
        level = np.ones((num_builds, num_builds))
        self.build_inverse, build_log = _inverse(level + np.diag(noise.build_sd**2))
        told = np.sum(self.inverses, axis=0)
        told[np.ix_(noise.built, noise.built)] += self.build_inverse
        self.blurring, told_log = _inverse(told)
        """Covariance of the errors with which parts and builds tell the slowness of each trial."""
        self.precision, slowness_log = _inverse(noise.slowness + self.blurring)
        """Inverse of the covariance of the slowness as it is told."""
        self.log_determinant = sum(log for _, log in blocks) + build_log + told_log + slowness_log

    def told(self, residuals: Residuals) -> Floats:
        """The slowness of each trial as its parts and builds tell it, whatever is believed of slowness (GLS)."""
        return self._gathered(residuals) @ self.blurring

    def _gathered(self, residuals: Residuals) -> Floats:
        gathered = np.sum([r @ inverse for r, inverse in zip(residuals.parts, self.inverses, strict=True)], axis=0)
        gathered[..., self.noise.built] += residuals.builds @ self.build_inverse
        return np.asarray(gathered, dtype=np.float64)

    def unexplained(self, residuals: Residuals) -> float:
        """Squared length of what is observed beside the slowness that it tells, in units of its spread."""
        parts = sum(float(r @ inverse @ r) for r, inverse in zip(residuals.parts, self.inverses, strict=True))
        builds = float(residuals.builds @ self.build_inverse @ residuals.builds)
        return parts + builds - float(self._gathered(residuals) @ self.told(residuals))

    def evidence(self, unexplained: float, told: Floats) -> float:
        """Log density of the observed values, up to a constant."""
        return -0.5 * (unexplained + float(told @ self.precision @ told) + self.log_determinant)

    def gains_if_disturbed(self, told: Floats, sd: float) -> Floats:
        """What the evidence gains if one more trial is held to be disturbed so much, for each trial."""
        growth = 1 + sd**2 * np.diag(self.precision)
        return np.asarray(0.5 * (sd**2 * (self.precision @ told) ** 2 / growth - np.log(growth)), dtype=np.float64)

    def disturb(self, trial: int, sd: float) -> None:
        """Hold a trial to be disturbed so much: an update of rank one (Sherman-Morrison)."""
        column = self.precision[:, trial].copy()
        growth = 1 + sd**2 * column[trial]
        self.precision -= sd**2 / growth * np.outer(column, column)
        self.log_determinant += float(np.log(growth))

    def weights(self, residuals: Residuals) -> list[Floats]:
        """Of each part: what its covariance with the trials is multiplied by to give the posterior mean."""
        told = self.told(residuals)
        slowness = told - told @ self.precision @ self.blurring
        return [(r - slowness) @ inverse for r, inverse in zip(residuals.parts, self.inverses, strict=True)]

    def block(self, part: int) -> Floats:
        """The inverse covariance of everything observed, as far as it is of one part."""
        doubt = self.blurring - self.blurring @ self.precision @ self.blurring
        inverse = self.inverses[part]
        return np.asarray(inverse - inverse @ doubt @ inverse, dtype=np.float64)

    def deviations(self, residuals: Residuals, functions: Sequence[Floats], disturbed: Mapping[int, float],
                   rng: np.random.Generator) -> Residuals:  # fmt: skip
        """Observed residuals less values drawn from the prior.

        Args:
            residuals: as observed.
            functions: draws of each part in the trials, draw × trial.
            disturbed: how much, as a standard deviation, by the position of the trial.
            rng: of the slowness and the noise.
        """
        num, n = functions[0].shape
        slowness = self.noise.with_disturbed(disturbed) + 1e-12 * np.eye(n)
        shared = rng.standard_normal((num, n)) @ np.linalg.cholesky(slowness).T
        own = rng.standard_normal((num, len(PARTS), n)) * np.sqrt(self.noise.own)
        level = rng.standard_normal((num, 1))
        builds = shared[:, self.noise.built] + level
        builds += rng.standard_normal((num, len(self.noise.built))) * self.noise.build_sd
        parts = [r - function - shared - own[:, i]
                 for i, (r, function) in enumerate(zip(residuals.parts, functions, strict=True))]  # fmt: skip
        return Residuals(parts, residuals.builds - builds)


def _inverse(matrix: Floats) -> tuple[Floats, float]:
    """Of a positive definite matrix: the inverse, and the logarithm of the determinant."""
    factor = np.linalg.cholesky(matrix)
    root = np.linalg.inv(factor)
    return np.asarray(root.T @ root, dtype=np.float64), 2 * float(np.log(np.diag(factor)).sum())
