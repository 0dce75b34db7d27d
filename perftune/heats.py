"""Heats, in which contenders took turns round by round, become what each contender was worth, with its uncertainty."""

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
ANNEALING = (0.6, 0.4, 0.25, 0.15, 0.1)
"""Spreads with which the common fit begins: wide first, so that it finds the mode that most rounds agree on and not
the one that is nearest to the start (graduated non-convexity, Blake and Zisserman 1987)."""
WIDEST, WIDER = 2.5, 1.5
"""A heat's own fit begins with the common spread so many times wider, as its processes differ from the others'."""
STEPS = 5
"""Steps of expectation and maximisation at the last spread; the log likelihood hardly changes after five."""
LEAST_ROUNDS = 0.5
"""A process seen undisturbed in less than so many rounds (expected) is left out: its value would be that of a burst.
Only where no process was seen more often, those seen most stay."""
OWN_ROUNDS = 2.5
"""A process that is far from the others of its candidate in all rounds, but in so many of them agrees with itself, is
another process and not a burst: bursts differ by `DISTURBED_SPREAD`, so that three rounds agree once in a hundred
times; 2.5 as each that agrees counts as a little less than one."""
HARDLY = 1e-6
"""Stands for no undisturbed round at all, so that nothing is divided by nothing."""
INDEPENDENT = 0.7
"""What part of the rounds says something of its own: a burst of several seconds spoils neighbouring ones alike."""
FULL_ROUNDS = 4.0
"""Rounds after which a process says as much of itself as its own spread leaves open: slices differ by 2 %, processes
by 1 %, (2 / 1)². A cell of n rounds weighs n / (n + 4)."""


@dataclass(frozen=True)
class Fit:
    """Contenders' worth on a scale of logs that has no origin: only differences mean something.

    Every field may have leading axes, one entry a study, so that a simulation fits a thousand studies at once.
    """

    worth: Array
    """One value a contender."""
    covariance: Array
    """Of `worth`, in units of `variance`."""
    connected: Mask
    """Which two have met, or met the same others."""
    variance: Array
    """Of a cell of full weight: residuals of block × contender, pooled; 0 without degrees of freedom."""
    degrees: Array
    spread: Array
    """Of the difference of two slices that nothing disturbed, a little low; 0 where all rounds say the same."""
    num_quiet: Array
    """Block × contender: in how many rounds it was seen undisturbed (expected)."""

    def of_study(self, number: int) -> "Fit":
        """One of several studies that were fitted at once."""
        return Fit(**{name: values[number] for name, values in vars(self).items()})


def arranged(heats: Sequence[Heat]) -> tuple[tuple[str, ...], Array]:
    """The contenders' keys, and blocks × contenders × rounds, not a number where one did not run.

    A heat is one block, or several where its contenders fall into groups that never ran in the same round. Who never
    ran beside another is left out. Without any block the array has none.
    """
    keys = tuple(sorted({key for heat in heats for key in heat}))
    num_rounds = max((len(values) for heat in heats for values in heat.values()), default=0)
    blocks: list[Array] = []
    for heat in heats:
        values = np.full((len(keys), num_rounds), np.nan)
        for key, row in heat.items():
            values[keys.index(key), : len(row)] = [np.nan if value is None else value for value in row]
        groups = {tuple(row) for row in _connected(np.isfinite(values)) if row.sum() > 1}
        blocks += [np.where(np.array(group)[:, None], values, np.nan) for group in sorted(groups)]
    return keys, np.stack(blocks) if blocks else np.empty((0, len(keys), num_rounds))


def fit(blocks: Array) -> Fit:
    """Contenders' worth from all blocks of a study (… × blocks × contenders × rounds, at least one block).

    Differences are only ever taken within a round, so whatever slows a whole round down falls out. A burst spoils
    single rounds, and often: with three contenders in turn on a machine that is busy half of the time, most
    differences are spoilt, too many for a median. But those that are not agree with each other. So a difference is
    taken to be normal and narrow or, just as likely, normal and wide (`DISTURBED_SPREAD`), and the likelihood of that
    mixture is maximised by weighted least squares: first for all heats at once, which finds what most rounds agree on,
    then within each heat from there, which leaves the heats' values independent enough for Student's t
    (benchmarks/decisions has the coverage). Where nothing is disturbed it is close to the mean.

    Processes are the cells of randomised complete blocks, cells may be missing; contenders and blocks are fitted by
    least squares, and the residuals of all cells are pooled.
    """
    worth, spread = _common_fit(blocks)
    cells, num_quiet = _cells(blocks, worth, np.maximum(LEAST_SPREAD, spread))
    return _blocked_fit(cells, num_quiet, spread[..., 0, 0])


def other_modes(differences: Array, log_ratio: float, spread: float) -> float:
    """The variance from what else the log ratio of two may be, as few rounds are often spoilt.

    After one heat on a busy machine two spoilt rounds may agree by chance. Every difference is a place where the ratio
    may lie; each has the likelihood of all differences, as in `fit`. Those beyond four spreads from the ratio taken
    are other modes: their squared distance, weighted by likelihood.

    Args:
        differences: of the two, one a round, all rounds of the study.
        log_ratio: what the fit found.
        spread: as in `Fit`.
    """
    if not len(differences):
        return 0.0
    spread = max(LEAST_SPREAD, spread)
    squares = (differences[:, None] - differences) ** 2
    narrow = np.exp(-squares / (2 * spread**2)) / spread
    wide = np.exp(-squares / (2 * DISTURBED_SPREAD**2)) / DISTURBED_SPREAD
    log_likelihood = INDEPENDENT * np.log(narrow + wide).sum(axis=1)
    weights = np.exp(log_likelihood - log_likelihood.max())
    distances = (differences - log_ratio) ** 2
    return float((weights * np.where(distances > (4 * spread) ** 2, distances, 0.0)).sum() / weights.sum())


def _connected(present: Mask) -> Mask:
    """… × contenders × rounds (or blocks) -> which two have met, over any number of others; each with itself."""
    size = present.shape[-2]
    met = present.astype(float) @ present.swapaxes(-1, -2).astype(float) + np.eye(size)
    steps: Array = np.linalg.matrix_power(np.minimum(met, 1), size)
    return steps > 0


def _common_fit(blocks: Array) -> tuple[Array, Array]:
    """One fit to the rounds of all blocks: the contenders' worth, and the spread of a quiet difference."""
    rounds = np.moveaxis(blocks, -3, -2).reshape(*blocks.shape[:-3], blocks.shape[-2], -1)
    differences, both = _differences(rounds)
    connected = _connected(np.isfinite(rounds))
    worth, quiet = np.zeros(rounds.shape[:-1]), np.zeros(())
    for wide in ANNEALING:
        worth, quiet = _refit(differences, both, connected, worth, np.asarray(wide))
    spread = np.asarray(wide)
    for _ in range(STEPS):
        squares = (quiet * _errors(differences, worth) ** 2).sum(axis=(-1, -2), keepdims=True)
        spread = np.sqrt(squares / np.maximum(quiet.sum(axis=(-1, -2), keepdims=True), HARDLY))
        worth, quiet = _refit(differences, both, connected, worth, np.maximum(LEAST_SPREAD, spread))
    return worth, spread


def _cells(blocks: Array, worth: Array, spread: Array) -> tuple[Array, Array]:
    """Each block's own worth of each contender, and in how many rounds it was seen undisturbed; both 0 if absent.

    A heat is looked at from the common worth. Where a contender of it is nowhere near that, it is looked at by itself.
    """
    common = np.broadcast_to(worth[..., None, :], blocks.shape[:-1])
    cells, num_quiet, num_near = _from(common, blocks, spread)
    own_cells, own_quiet, _ = _from(_common_fit(blocks[..., None, :, :])[0], blocks, spread)
    present = num_quiet > 0
    is_far = (present & (num_near < LEAST_ROUNDS)).any(axis=-1, keepdims=True)
    agrees = (~present | (own_quiet >= OWN_ROUNDS)).all(axis=-1, keepdims=True)
    num_quiet = np.where(present & (num_near < LEAST_ROUNDS), HARDLY, num_quiet)
    takes_own = is_far & agrees
    return np.where(takes_own, own_cells, cells), np.where(takes_own, own_quiet, num_quiet)


def _from(start: Array, blocks: Array, spread: Array) -> tuple[Array, Array, Array]:
    """Each block fitted from a start: its worth, undisturbed rounds of each contender, and rounds near the start."""
    differences, both = _differences(blocks)
    members = np.abs(_pairs(blocks.shape[-2]))
    num_partners = both.any(axis=-1) @ members
    present = num_partners > 0
    connected = present[..., :, None] & present[..., None, :] | np.eye(blocks.shape[-2], dtype=bool)
    cells, near = _refit(differences, both, connected, start, spread[..., None] * WIDEST)
    for wider in (WIDER, *(1.0,) * STEPS):
        cells, quiet = _refit(differences, both, connected, cells, spread[..., None] * wider)
    num_near, num_quiet = (one.sum(axis=-1) @ members / np.maximum(num_partners, 1) for one in (near, quiet))
    return np.where(present, cells, 0.0), np.where(present, np.maximum(num_quiet, HARDLY), 0.0), num_near


def _pairs(size: int) -> Array:
    """Pairs × contenders: 1 for the first of the two, -1 for the second."""
    first, second = np.triu_indices(size, 1)
    return np.eye(size)[first] - np.eye(size)[second]


def _differences(rounds: Array) -> tuple[Array, Mask]:
    """… × contenders × rounds -> differences of every pair in every round (0 where one did not run), and which ran."""
    first, second = np.triu_indices(rounds.shape[-2], 1)
    differences = rounds[..., first, :] - rounds[..., second, :]
    both = np.isfinite(differences)
    return np.where(both, differences, 0.0), both


def _errors(differences: Array, worth: Array) -> Array:
    return differences - (worth @ _pairs(worth.shape[-1]).T)[..., None]


def _refit(differences: Array, both: Mask, connected: Mask, worth: Array, spread: Array) -> tuple[Array, Array]:
    """One step of expectation and maximisation: the worth, and each difference's chance to be an undisturbed one."""
    narrow, wide = spread**-2, DISTURBED_SPREAD**-2
    squares = _errors(differences, worth) ** 2
    quiet = both * expit(np.log(DISTURBED_SPREAD / spread) - squares * (narrow - wide) / 2)
    weights = quiet * (narrow - wide) + both * wide
    worth, _ = _least_squares(weights.sum(axis=-1), (weights * differences).sum(axis=-1), connected)
    return worth, quiet


def _least_squares(weights: Array, sums: Array, connected: Mask) -> tuple[Array, Array]:
    """Pairs' weights and weighted differences -> the values that fit them best, and their covariance.

    The normal equations are the Laplacian of the graph of weights. Ones for what is connected give the values of each
    connected part the mean 0, and change no difference.
    """
    pairs = _pairs(connected.shape[-1])
    inverse: Array = np.asarray(np.linalg.inv((pairs.T * weights[..., None, :]) @ pairs + connected), dtype=np.float64)
    values: Array = (inverse @ (sums @ pairs)[..., None])[..., 0]
    return values, inverse


def _blocked_fit(cells: Array, num_quiet: Array, spread: Array) -> Fit:
    """Randomised complete blocks, cells may be missing: contenders + blocks by least squares, residuals pooled."""
    there = num_quiet >= np.minimum(LEAST_ROUNDS, num_quiet.max(axis=(-1, -2), keepdims=True))
    there &= there.sum(axis=-1, keepdims=True) > 1
    weights = np.where(there, num_quiet / (num_quiet + FULL_ROUNDS), 0.0)
    shares = weights / np.where(there.any(axis=-1), weights.sum(axis=-1), 1.0)[..., None]
    # A block of weights w joins two by their product over the sum: what is left when its own level is fitted away.
    first, second = np.triu_indices(cells.shape[-1], 1)
    joint = shares[..., first] * weights[..., second]
    connected = _connected(there.swapaxes(-1, -2))
    differences = cells[..., first] - cells[..., second]
    worth, covariance = _least_squares(joint.sum(axis=-2), (joint * differences).sum(axis=-2), connected)
    deviations = cells - worth[..., None, :]
    residuals = deviations - (shares * deviations).sum(axis=-1, keepdims=True)
    met = np.asarray(there.any(axis=-2))
    num_parts = (met / connected.sum(axis=-1)).sum(axis=-1).round().astype(int)
    degrees = there.sum(axis=(-1, -2)) - there.any(axis=-1).sum(axis=-1) - met.sum(axis=-1) + num_parts
    squares = (weights * residuals**2).sum(axis=(-1, -2))
    return Fit(
        worth=worth,
        covariance=covariance,
        connected=connected & met[..., :, None] & met[..., None, :],
        variance=np.where(degrees > 0, squares / np.maximum(degrees, 1), 0.0),
        degrees=degrees,
        spread=spread,
        num_quiet=num_quiet,
    )
