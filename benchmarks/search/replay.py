"""A recorded landscape answers for the machine: a candidate becomes one more trial with recorded noise and drift."""

import math
from collections.abc import Callable

import numpy as np

from benchmarks.search.landscape import Landscape, Truth
from perftune.records.candidate import Candidate
from perftune.records.summary import step_interval
from perftune.records.trial import Heartbeat, Measurement, Purpose, Trial, TrialRequest

_SECONDS = ("step_seconds", "data_seconds", "forward_seconds", "backward_seconds", "optimizer_seconds")


class Replay:
    """A trial runner that runs nothing.

    One of the candidate's recorded runs gives the shares of the step, the memory and the warm-up. Its level is the
    candidate's truth times a residual drawn from all recorded ones (two runs of one candidate would know too little
    of the noise) times the recorded drift, which is entered at a moment that the seed decides and then goes on with
    the cost of the trials.

    Args:
        landscape: as recorded.
        seed: of the residuals, and of the moment.
        truth: of the landscape, if it is at hand.
        noise: the residuals are so many times what was recorded, as logarithms.
    """

    def __init__(self, landscape: Landscape, seed: int, truth: Truth | None = None, noise: float = 1.0) -> None:
        self.truth = truth or Truth(landscape)
        self._noise = noise
        self._rng = np.random.default_rng([seed, 17])
        self._runs: dict[str, list[Trial]] = {}
        for trial in landscape.trials:
            self._runs.setdefault(trial.candidate.key, []).append(trial)
        self._slowness = {t.number: slow for t, slow in zip(landscape.trials, self.truth.slowness, strict=True)}
        self._times = np.cumsum([trial.wall_seconds for trial in landscape.trials])
        self._clock = float(self._rng.uniform(0, self._times[-1]))

    def run(self, request: TrialRequest, on_heartbeat: Callable[[Heartbeat], None] | None = None) -> Trial:  # noqa: ARG002
        """Answer a request like the real runner."""
        return self.trial(request.candidate, request.number, request.purpose)

    def trial(self, candidate: Candidate, number: int, purpose: Purpose = Purpose.SEARCH) -> Trial:
        """One trial of a recorded candidate.

        Raises:
            KeyError: the landscape does not hold the candidate.
        """
        runs = self._runs[candidate.key]
        recorded = runs[int(self._rng.integers(len(runs)))]
        self._clock += recorded.wall_seconds
        update = {"number": number, "purpose": purpose}
        if recorded.measurement is None:
            return recorded.model_copy(update=update)
        level = self.truth.seconds(candidate)
        if not math.isfinite(level):
            return recorded.model_copy(update=update)
        slow = float(np.interp(self._clock % self._times[-1], self._times, self.truth.slowness))
        residual = self._noise * float(self._rng.choice(self.truth.residuals))
        factor = level * math.exp(residual) * slow / step_interval(recorded.measurement).value
        measurement = _scaled(recorded.measurement, factor, slow / self._slowness[recorded.number])
        return recorded.model_copy(update={**update, "measurement": measurement})


def _scaled(measurement: Measurement, factor: float, build_factor: float) -> Measurement:
    series = {name: tuple(factor * value for value in getattr(measurement.steps, name)) for name in _SECONDS}
    return measurement.model_copy(
        update={
            "steps": measurement.steps.model_copy(update=series),
            "build_seconds": measurement.build_seconds * build_factor,
        }
    )
