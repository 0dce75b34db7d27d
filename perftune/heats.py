"""Heats, in which contenders took turns round by round, become what each contender was worth, with its uncertainty."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import expit

Heat: TypeAlias = Mapping[str, Sequence[float | None]]
"""Contender's key -> one value a round: the logarithm of how good it was; None where it did not run that round."""
Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

DISTURBED_SPREAD = 0.6
"""Spread (log) of the difference of two slices of which one was disturbed: bursts make a slice up to 4 times slower,
log 4 = 1.4, in either direction and most of them less; issue: 1 to 8 s, 2 to 4 times."""
LEAST_SPREAD = 0.04
"""Least spread taken for the difference of two quiet slices. Two neighbouring slices of about a second differ by 2 to
5 % on a quiet machine; below, noise is not told from this, which costs under 2 % of the efficiency."""
ANNEALING = (0.6, 0.4, 0.3, 0.2, 0.15, 0.1)
"""Spreads with which the common fit begins: wide first, so that it finds the mode that most rounds agree on and not
the one that is nearest to the start (graduated non-convexity, Blake and Zisserman 1987)."""
WIDER = (2.5, 1.5)
"""A heat's own fit begins with the common spread so many times wider, as its processes differ from the others'."""
STEPS = 6
"""Steps of expectation and maximisation at the last spread; the log likelihood hardly changes after five."""
LEAST_ROUNDS = 0.5
"""A process seen undisturbed in less than so many rounds (expected) is left out: its value would be that of a burst."""
FULL_ROUNDS = 4.0
"""Rounds after which a process says as much of itself as its own spread leaves open: slices differ by 2 %, processes
by 1 %, (2 / 1)². A cell of n rounds weighs n / (n + 4)."""


@dataclass(frozen=True)
class Standing:
    """What all heats say of the contenders, on a scale of logs that has no origin: only differences mean something."""

    keys: tuple[str, ...]
    worth: Array
    """One value a contender."""
    covariance: Array
    """Of `worth`, in units of `variance`."""
    connected: Mask
    """Which two have met, or met the same others."""
    variance: float
    """Of a cell of full weight: residuals of heat × contender, pooled; 0 without degrees of freedom."""
    degrees: int
    slice_variance: float
    """Of one round's value within a process, where nothing disturbed it."""
    num_quiet: Array
    """Block × contender: in how many rounds the contender was seen undisturbed."""

    def difference(self, first: str, second: str) -> tuple[float, float] | None:
        """Worth of the first less that of the second, and the variance factor of it; None: they never met."""
        if first not in self.keys or second not in self.keys:
            return None
        i, j = self.keys.index(first), self.keys.index(second)
        if not self.connected[i, j]:
            return None
        factor = self.covariance[i, i] + self.covariance[j, j] - 2 * self.covariance[i, j]
        return float(self.worth[i] - self.worth[j]), float(factor)


def standing(heats: Sequence[Heat]) -> Standing | None:
    """Contenders' worth from all heats; None when no two contenders ever ran in the same round.

    Differences are only ever taken within a round, so whatever slows a whole round down falls out. A burst spoils
    single rounds, and often: with three contenders in turn on a machine that is busy half of the time, most
    differences are spoilt, too many for a median. But those that are not agree with each other. So a difference is
    taken to be normal and narrow or, just as likely, normal and wide (`DISTURBED_SPREAD`), and the likelihood of that
    mixture is maximised by weighted least squares: first for all heats at once, which finds what most rounds agree on,
    then within each heat from there, which leaves the heats' values independent enough for Student's t
    (benchmarks/decisions has the coverage). Where nothing is disturbed it is close to the mean.

    A heat's values are one block, its processes the cells; contenders and blocks are fitted by least squares
    (randomised complete blocks; cells may be missing), and the residuals of all cells are pooled.
    """
    keys = tuple(sorted({key for heat in heats for key in heat}))
    blocks = _blocks(heats, keys)
    if blocks is None:
        return None
    worth, spread = _common_fit(blocks)
    cells, num_quiet = _cells(blocks, worth, spread)
    return _blocked_fit(keys, cells, num_quiet, spread)


def _blocks(heats: Sequence[Heat], keys: Sequence[str]) -> Array | None:
    """Blocks × contenders × rounds, not a number where one did not run; a block's contenders all met."""
    num_rounds = max((len(values) for heat in heats for values in heat.values()), default=0)
    blocks: list[Array] = []
    for heat in heats:
        values = np.full((len(keys), num_rounds), np.nan)
        for key, row in heat.items():
            values[keys.index(key), : len(row)] = [np.nan if value is None else value for value in row]
        blocks += _connected_parts(values)
    return np.stack(blocks) if blocks else None


def _connected_parts(values: Array) -> list[Array]:
    """One heat, split where its contenders fall into groups that never ran in the same round; loners are left out."""
    groups = {tuple(row) for row in _connected(np.isfinite(values)) if row.sum() > 1}
    return [np.where(np.array(group)[:, None], values, np.nan) for group in sorted(groups)]


def _connected(present: Mask) -> Mask:
    """Contenders × rounds (or heats) -> which two have met there, over any number of others; each with itself."""
    met = present.astype(float) @ present.T.astype(float) + np.eye(len(present))
    steps: Array = np.linalg.matrix_power(np.minimum(met, 1), len(met))
    return steps > 0


def _common_fit(blocks: Array) -> tuple[Array, float]:
    """One fit to the rounds of all blocks: the contenders' worth, and the spread of a quiet difference."""
    rounds = np.concatenate(list(blocks), axis=-1)
    differences, both = _differences(rounds)
    connected = _connected(np.isfinite(rounds)).astype(float)
    worth = np.zeros(len(rounds))
    for spread in ANNEALING:
        worth, quiet = _refit(differences, both, connected, worth, spread)
    for _ in range(STEPS):
        spread = max(LEAST_SPREAD, float(np.sqrt((quiet * _errors(differences, worth) ** 2).sum() / quiet.sum())))
        worth, quiet = _refit(differences, both, connected, worth, spread)
    return worth, spread


def _cells(blocks: Array, worth: Array, spread: float) -> tuple[Array, Array]:
    """Each block's own worth of each contender, and in how many rounds it was seen undisturbed; both 0 if absent."""
    differences, both = _differences(blocks)
    present = np.asarray(both.any(axis=(-1, -2)))
    connected = (present[:, :, None] & present[:, None, :] | np.eye(len(worth), dtype=bool)).astype(float)
    cells = np.broadcast_to(worth, present.shape)
    for wider in (*WIDER, *(1.0,) * STEPS):
        cells, quiet = _refit(differences, both, connected, cells, spread * wider)
    partners = np.maximum(both.any(axis=-1).sum(axis=-1), 1)
    return np.where(present, cells, 0.0), quiet.sum(axis=(-1, -2)) / partners


def _differences(rounds: Array) -> tuple[Array, Mask]:
    """… × contenders × rounds -> the differences of every two in every round (0 if one did not run), and which ran."""
    differences = rounds[..., :, None, :] - rounds[..., None, :, :]
    others = ~np.eye(rounds.shape[-2], dtype=bool)[:, :, None]
    both = np.isfinite(differences) & others
    return np.where(both, differences, 0.0), both


def _errors(differences: Array, worth: Array) -> Array:
    return differences - (worth[..., :, None] - worth[..., None, :])[..., None]


def _refit(differences: Array, both: Mask, connected: Array, worth: Array, spread: float) -> tuple[Array, Array]:
    """One step of expectation and maximisation: the worth, and each difference's chance to be an undisturbed one."""
    narrow, wide = spread**-2, DISTURBED_SPREAD**-2
    squares = _errors(differences, worth) ** 2
    quiet = both * expit(math.log(DISTURBED_SPREAD / spread) - squares * (narrow - wide) / 2)
    weights = quiet * narrow + (both - quiet) * wide
    worth, _ = _least_squares(weights.sum(axis=-1), (weights * differences).sum(axis=(-1, -2)), connected)
    return worth, quiet


def _least_squares(weights: Array, sums: Array, connected: Array) -> tuple[Array, Array]:
    """Weighted differences of every two -> values that fit best (mean 0 in each connected part), and their covariance.

    The normal equations of pairwise differences are the Laplacian of the graph of weights; ones for what is connected
    take out that only differences are known, without changing any.
    """
    laplacian = weights.sum(axis=-1)[..., None] * np.eye(weights.shape[-1]) - weights
    inverse: Array = np.linalg.inv(laplacian + connected)
    return (inverse @ sums[..., None])[..., 0], inverse


def _blocked_fit(keys: tuple[str, ...], cells: Array, num_quiet: Array, spread: float) -> Standing:
    """Randomised complete blocks, cells may be missing: contenders + blocks by least squares, residuals pooled."""
    there = num_quiet >= LEAST_ROUNDS
    there &= there.sum(axis=1, keepdims=True) > 1
    weights = np.where(there, num_quiet / (num_quiet + FULL_ROUNDS), 0.0)
    totals = np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    centred = cells - (weights * cells).sum(axis=1, keepdims=True) / totals
    # A block of weights w joins every two by w w / total: what is left when its own level is fitted away.
    joint = np.einsum("bi,bj->ij", weights / totals, weights) * ~np.eye(len(keys), dtype=bool)
    connected = _connected(there.T)
    worth, covariance = _least_squares(joint, (weights * centred).sum(axis=0), connected.astype(float))
    residuals = cells - worth
    residuals -= (weights * residuals).sum(axis=1, keepdims=True) / totals
    met = np.asarray(there.any(axis=0))
    num_parts = len({tuple(row) for row in connected[met]})
    degrees = int(there.sum() - there.any(axis=1).sum() - (met.sum() - num_parts))
    squares = float((weights * residuals**2).sum())
    return Standing(
        keys=keys,
        worth=worth,
        covariance=covariance,
        connected=connected & met & met[:, None],
        variance=squares / degrees if degrees else 0.0,
        degrees=degrees,
        slice_variance=spread**2 / 2,
        num_quiet=num_quiet,
    )
