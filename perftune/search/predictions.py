"""The prior of a space becomes arrays: what is predicted of every candidate, by its row in the encoding."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from perftune.records.base import Setting
from perftune.records.candidate import MICRO_BATCH
from perftune.records.prior import Predicted, Prior
from perftune.search.encoding import Encoding, Floats, Ints


@dataclass(frozen=True)
class Predictions:
    """Of every candidate; what could not be traced has what is predicted of its nearest neighbour."""

    peak_bytes: Floats
    kernel_seconds: Floats | None
    host_seconds: Floats | None
    runs_ahead: bool
    has_rates: bool
    is_complete: bool
    """Every candidate was predicted itself."""

    @property
    def has_all_seconds(self) -> bool:
        """Whether the time of every candidate was predicted itself."""
        return self.is_complete and self.kernel_seconds is not None

    def log_compute(self, rows: Ints, kernel_factor: Floats, host_factor: float) -> Floats:
        """Log seconds of forward and backward, with the share of the host so many times what was predicted."""
        assert self.kernel_seconds is not None
        assert self.host_seconds is not None
        kernels, host = self.kernel_seconds[rows] * kernel_factor, self.host_seconds[rows] * host_factor
        return np.asarray(np.log(np.maximum(kernels, host) if self.runs_ahead else kernels + host), dtype=np.float64)


def predictions(encoding: Encoding) -> Predictions | None:
    """What the space's prior says; None where it has none."""
    prior = encoding.space.prior
    if prior is None:
        return None
    places = [encoding.names.index(name) for name in prior.knobs]
    combined = list(product(*(encoding.values[place] for place in places)))
    known_by_values = {tuple(known.settings[name] for name in prior.knobs): known for known in prior.predicted}
    own = [known_by_values.get(values) for values in combined]
    nearest = _nearest(prior, [values for values, known in zip(combined, own, strict=True) if known is None])
    found = [known or nearest[values] for known, values in zip(own, combined, strict=True)]
    number = _combination(encoding, places)
    has_seconds = all(known.kernel_seconds is not None and known.host_seconds is not None for known in found)
    return Predictions(
        peak_bytes=np.array([known.peak_memory_bytes for known in found], dtype=np.float64)[number],
        kernel_seconds=np.array([known.kernel_seconds for known in found], float)[number] if has_seconds else None,
        host_seconds=np.array([known.host_seconds for known in found], float)[number] if has_seconds else None,
        runs_ahead=prior.runs_ahead,
        has_rates=prior.has_rates,
        is_complete=None not in own,
    )


def _combination(encoding: Encoding, places: list[int]) -> Ints:
    """Which combination of some knobs' values each candidate has, as ``itertools.product`` counts them."""
    number = np.zeros(len(encoding), dtype=np.int64)
    for place in places:
        number = number * len(encoding.values[place]) + encoding.codes[:, place]
    return number


def _nearest(prior: Prior, wanted: Sequence[tuple[Setting, ...]]) -> dict[tuple[Setting, ...], Predicted]:
    """What is predicted of the most similar settings; the micro-batch counts before all other knobs together."""
    known = np.array([[each.settings[name] for name in prior.knobs] for each in prior.predicted], dtype=object)
    importance = np.array([len(prior.knobs) if name == MICRO_BATCH else 1 for name in prior.knobs])
    return {
        values: prior.predicted[int(np.argmax((known == np.array(values, dtype=object)) @ importance))]
        for values in wanted
    }
