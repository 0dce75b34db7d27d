"""The lengths of the data to the micro-batch that training usually sees: tokens, and padding beside the longest."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TAIL, TAIL_FROM = 0.99, 0.95
"""Beyond the first level the quantiles are those of an exponential tail, as steep as between the two."""


class UsualBatch(NamedTuple):
    """What one sample of a random micro-batch comes with, on average."""

    num_tokens: float
    """Without padding."""
    num_padded_tokens: float
    """Up to the longest of its micro-batch."""


def usual_batch(num_tokens_by_percent: Sequence[int], mean_num_tokens: float | None, micro_batch: int) -> UsualBatch:
    """The mean over random micro-batches.

    The longest of b samples is distributed as the b-th power of the distribution of one: its mean is the integral of
    ``Q(u ** (1 / b))`` over u from 0 to 1, with Q the quantile function of the lengths.
    """
    quantiles = np.asarray(num_tokens_by_percent, dtype=np.float64)
    levels = (np.arange(1000) + 0.5) / 1000
    longest = _quantile(levels ** (1 / micro_batch), quantiles)
    mean = float(quantiles.mean()) if mean_num_tokens is None else mean_num_tokens
    return UsualBatch(mean, max(float(longest.mean()), mean))


def _quantile(levels: NDArray[np.float64], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last percent is no straight line to the longest sample of all, which most micro-batches are far from."""
    known = np.linspace(0, 1, len(quantiles))
    low, high = np.interp((TAIL_FROM, TAIL), known, quantiles)
    times = np.log((1 - TAIL) / np.maximum(1 - levels, 1e-12)) / np.log((1 - TAIL_FROM) / (1 - TAIL))
    tail = np.minimum(high + (high - low) * times, quantiles[-1])
    return np.where(levels > TAIL, tail, np.interp(levels, known, quantiles))
