"""Blocks and updates of rank one give what one large covariance matrix of everything observed gives."""

import numpy as np
import pytest

from benchmarks.search.synthetic import World
from perftune.records.probe import Objective
from perftune.search.encoding import Encoding, Floats
from perftune.search.kernels import Kernels
from perftune.search.machine import DISTURBANCES, FIRST_BUILD_SD, MACHINES, Factors, Noise, Residuals
from perftune.search.observations import PARTS, Observation, observe


class Dense:
    """The same beliefs from the whole matrix."""

    def __init__(self, noise: Noise, kernels: list[Floats], disturbed: dict[int, float]) -> None:
        self.n, p = len(noise.slowness), len(PARTS)
        link = np.vstack([np.tile(np.eye(self.n), (p, 1)), np.eye(self.n)[noise.built]])
        self.matrix = link @ noise.with_disturbed(disturbed) @ link.T
        for i, (kernel, own) in enumerate(zip(kernels, noise.own, strict=True)):
            self.matrix[self.block(i), self.block(i)] += kernel + np.diag(own)
        self.matrix[p * self.n :, p * self.n :] += 1.0 + np.diag(noise.build_sd**2)
        self.inverse = np.linalg.inv(self.matrix)

    def block(self, part: int) -> slice:
        return slice(part * self.n, (part + 1) * self.n)

    def evidence(self, residuals: Residuals) -> float:
        stacked = np.concatenate([*residuals.parts, residuals.builds])
        return -0.5 * float(stacked @ self.inverse @ stacked + np.linalg.slogdet(self.matrix)[1])

    def weights(self, residuals: Residuals) -> list[Floats]:
        alpha = self.inverse @ np.concatenate([*residuals.parts, residuals.builds])
        return [alpha[self.block(i)] for i in range(len(PARTS))]


def observed() -> tuple[Encoding, list[Observation]]:
    world = World(3, outliers=0.2)
    encoding = Encoding(world.space)
    rows = np.random.default_rng(1).integers(len(encoding), size=14)
    trials = [world.run(encoding.candidate(int(row)), number) for number, row in enumerate(rows)]
    seen = observe(encoding, trials, Objective.SAMPLES_PER_SECOND)
    unknown = {"log_build_seconds": None}  # as in a trial whose build was not timed
    return encoding, [Observation(**{**vars(one), **(unknown if i == 3 else {})}) for i, one in enumerate(seen)]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("disturbed", [{}, {2: 1.0}, {2: 1.0, 5: 0.2}])
def test_blocks_give_what_the_whole_matrix_gives(machine, disturbed):
    encoding, observations = observed()
    rows = np.array([o.row for o in observations])
    kernels = Kernels(encoding, int(rows[0]), is_traced=False, knows_rates=False)
    covariances = [kernels.covariance(part, rows, rows) for part in PARTS]
    noise = Noise(machine, observations)
    rng = np.random.default_rng(0)
    residuals = Residuals([rng.normal(size=len(rows)) for _ in PARTS], rng.normal(size=len(noise.built)))
    factors, dense = Factors(noise, covariances), Dense(noise, covariances, disturbed)
    told = factors.told(residuals)
    for trial, sd in disturbed.items():
        factors.disturb(trial, sd)
    found = factors.evidence(factors.unexplained(residuals), told)
    assert found == pytest.approx(dense.evidence(residuals), rel=1e-6)
    for i, wanted in enumerate(dense.weights(residuals)):
        assert factors.weights(residuals)[i] == pytest.approx(wanted, rel=1e-5, abs=1e-6)
        assert factors.block(i) == pytest.approx(dense.inverse[dense.block(i), dense.block(i)], rel=1e-5, abs=1e-5)
    for sd, _ in DISTURBANCES:
        gains = factors.gains_if_disturbed(told, sd)
        for trial in {0, 4, 7} - set(disturbed):
            more = Dense(noise, covariances, {**disturbed, trial: sd})
            gain = more.evidence(residuals) - dense.evidence(residuals)
            assert gains[trial] == pytest.approx(gain, rel=1e-4, abs=1e-5)


def test_the_first_build_tells_less(space, trial):
    encoding = Encoding(space)
    observations = observe(encoding, [trial(i, space.base) for i in range(3)], Objective.SAMPLES_PER_SECOND)
    noise = Noise(MACHINES[0], observations)
    assert noise.build_sd[0] == pytest.approx(FIRST_BUILD_SD, rel=0.01)
    assert noise.build_sd[1] < noise.build_sd[0]
    assert list(noise.built) == [0, 1, 2]


def test_draws_deviate_by_what_is_believed():
    """Observed residuals less draws from the prior have the covariance of the whole matrix."""
    encoding, observations = observed()
    rows = np.array([o.row for o in observations])
    kernels = Kernels(encoding, int(rows[0]), is_traced=False, knows_rates=False)
    covariances = [kernels.covariance(part, rows, rows) for part in PARTS]
    noise, rng, num, disturbed = Noise(MACHINES[1], observations), np.random.default_rng(2), 20_000, {4: 0.5}
    functions = [rng.multivariate_normal(np.zeros(len(rows)), c, size=num) for c in covariances]
    still = Residuals([np.zeros(len(rows)) for _ in PARTS], np.zeros(len(noise.built)))
    drawn = Factors(noise, covariances).deviations(still, functions, disturbed, rng)
    found = np.cov(np.concatenate([*drawn.parts, drawn.builds], axis=1).T)
    wanted = Dense(noise, covariances, disturbed).matrix
    scale = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
    assert np.abs((found - wanted) / scale).max() < 6 / np.sqrt(num)
