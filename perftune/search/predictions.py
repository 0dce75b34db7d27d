"""The prior of a space becomes arrays: what is predicted of every candidate, by its row in the encoding."""

from dataclasses import dataclass

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

    def log_compute(self, kernel_factor: Floats, host_factor: float) -> Floats:
        """Log seconds of forward and backward, with the share of the host so many times what was predicted."""
        assert self.kernel_seconds is not None
        assert self.host_seconds is not None
        kernels, host = self.kernel_seconds * kernel_factor, self.host_seconds * host_factor
        return np.asarray(np.log(np.maximum(kernels, host) if self.runs_ahead else kernels + host), dtype=np.float64)


def predictions(encoding: Encoding) -> Predictions | None:
    """What the space's prior says; None where it has none."""
    prior = encoding.space.prior
    if prior is None:
        return None
    combined, number = _combinations(encoding, prior)
    known_by_values = {tuple(known.settings[name] for name in prior.knobs): known for known in prior.predicted}
    own = [known_by_values.get(tuple(settings.values())) for settings in combined]
    found = [known or _nearest(prior, settings) for known, settings in zip(own, combined, strict=True)]
    has_seconds = all(known.kernel_seconds is not None and known.host_seconds is not None for known in found)
    return Predictions(
        peak_bytes=np.array([known.peak_memory_bytes for known in found], dtype=np.float64)[number],
        kernel_seconds=np.array([known.kernel_seconds for known in found], float)[number] if has_seconds else None,
        host_seconds=np.array([known.host_seconds for known in found], float)[number] if has_seconds else None,
        runs_ahead=prior.runs_ahead,
        has_rates=prior.has_rates,
        is_complete=None not in own,
    )


def _combinations(encoding: Encoding, prior: Prior) -> tuple[list[dict[str, Setting]], Ints]:
    """Every combination of the prior's knobs, and which of them each candidate has."""
    places = [encoding.names.index(name) for name in prior.knobs]
    codes, number = np.unique(encoding.codes[:, places], axis=0, return_inverse=True)
    values = [encoding.values[place] for place in places]
    combined = [{name: v[i] for name, v, i in zip(prior.knobs, values, code, strict=True)} for code in codes]
    return combined, np.asarray(number, dtype=np.int64).reshape(-1)


def _nearest(prior: Prior, settings: dict[str, Setting]) -> Predicted:
    """The micro-batch counts before all other knobs together."""

    def alike(known: Predicted) -> tuple[bool, int]:
        same = sum(known.settings[name] == settings[name] for name in prior.knobs)
        return known.settings.get(MICRO_BATCH) == settings.get(MICRO_BATCH), same

    return max(prior.predicted, key=alike)
