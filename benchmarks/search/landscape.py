"""The recorded landscape of a workload: every candidate of a space, really run, as one JSON file; and its truth.

The file holds the space and the trials as perftune records them, in the order they were run, steps rounded to µs.
Nothing is averaged: noise, drift and cost are in it.
"""

import math
import random
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from statistics import median

from benchmarks.search.drift import drift
from perftune.records.base import Record, Setting
from perftune.records.candidate import MICRO_BATCH, Candidate, Knob, Space
from perftune.records.device import Device, Versions
from perftune.records.study import write_atomically
from perftune.records.summary import step_interval
from perftune.records.trial import Steps, Trial

FEWEST_MICRO_BATCHES = 6
DIGITS = 6
REFERENCE_EVERY = 8
"""The reference is run again after so many trials, so that the drift of the machine can be seen and taken out."""
DISAGREEMENT = 0.08
"""Runs further apart than this are not enough for a truth."""
NEAR = 0.1
"""Candidates within this of the best are run more often, …"""
FAR = 0.5
"""… and those beyond this less."""


class Landscape(Record):
    """What was recorded."""

    workload: str
    device: Device
    versions: Versions
    space: Space
    trials: tuple[Trial, ...] = ()


def read(path: Path) -> Landscape:
    """Read a landscape.

    Raises:
        pydantic.ValidationError: the file holds something else.
    """
    return Landscape.model_validate_json(path.read_text(encoding="utf-8"))


def write(landscape: Landscape, path: Path) -> None:
    """Write a landscape, one trial a line."""
    head = landscape.model_copy(update={"trials": ()}).model_dump_json()
    trials = ",\n".join(compact(trial).model_dump_json(exclude_none=True) for trial in landscape.trials)
    write_atomically(path, head.replace('"trials":[]', f'"trials":[\n{trials}\n]') + "\n")


def compact(trial: Trial) -> Trial:
    """The trial with its series rounded and without traceback."""
    if trial.failure is not None:
        return trial.model_copy(update={"failure": trial.failure.model_copy(update={"traceback": None})})
    assert trial.measurement is not None
    series = {name: getattr(trial.measurement.steps, name) for name in Steps.model_fields}
    steps = Steps(**{name: tuple(_rounded(value) for value in values) for name, values in series.items()})
    return trial.model_copy(update={"measurement": trial.measurement.model_copy(update={"steps": steps})})


def _rounded(value: float | None) -> float | None:
    return round(value, DIGITS) if isinstance(value, float) else value


def shrink(space: Space, max_candidates: int) -> Space:
    """The space with fewer values per knob, so that all of it can be run; the user's own values stay.

    The longest knob loses first; micro-batches are thinned evenly, other knobs lose their last value.
    """
    values = {knob.name: list(knob.values) for knob in space.knobs}
    while math.prod(len(v) for v in values.values()) > max_candidates:
        floor = {name: FEWEST_MICRO_BATCHES if name == MICRO_BATCH else 1 for name in values}
        longest = max(
            (name for name in reversed(values) if len(values[name]) > floor[name]), key=lambda n: len(values[n])
        )
        _drop(longest, values[longest], space.base)
    knobs = tuple(Knob(name=knob.name, values=tuple(values[knob.name])) for knob in space.knobs)
    return space.model_copy(update={"knobs": knobs})


def _drop(name: str, values: list[Setting], base: Candidate) -> None:
    own = base.settings[name]
    if name != MICRO_BATCH:
        values.remove([value for value in values if value != own][-1])
        return
    ordered = sorted(int(str(value)) for value in values)
    inner = [i for i in range(1, len(ordered) - 1) if ordered[i] != own]
    values.remove(ordered[min(inner, key=lambda i: ordered[i + 1] / ordered[i - 1])])


def shuffled(space: Space, repeat: int) -> list[Candidate]:
    """Every candidate once, in another order for every repeat."""
    candidates = list(space.candidates())
    random.Random(repeat).shuffle(candidates)
    return candidates


class Truth:
    """The seconds per step of every candidate, drift taken out: the median over its runs."""

    def __init__(self, landscape: Landscape) -> None:
        self.landscape = landscape
        self.slowness = drift(landscape.trials)
        self._corrected: dict[str, list[float]] = {}
        self._peaks: dict[str, list[int]] = {}
        for trial, slow in zip(landscape.trials, self.slowness, strict=True):
            if trial.measurement is not None:
                seconds = step_interval(trial.measurement).value / slow
                self._corrected.setdefault(trial.candidate.key, []).append(seconds)
                self._peaks.setdefault(trial.candidate.key, []).append(trial.measurement.memory.peak_bytes)

    def seconds(self, candidate: Candidate) -> float:
        """True seconds per optimizer step; infinite when the candidate does not run within the usable memory."""
        key = candidate.key
        if key not in self._corrected or max(self._peaks[key]) > self.landscape.space.usable_memory_bytes:
            return math.inf
        return median(self._corrected[key])

    def num_runs(self, candidate: Candidate) -> int:
        """Completed runs."""
        return len(self._corrected.get(candidate.key, ()))

    def disagreement(self, candidate: Candidate) -> float:
        """Slowest run over fastest, less one."""
        values = self._corrected[candidate.key]
        return max(values) / min(values) - 1

    @cached_property
    def best_seconds(self) -> float:
        """Of the best candidate."""
        return min(self.seconds(candidate) for candidate in self.landscape.space.candidates())

    def regret(self, candidate: Candidate) -> float:
        """How much slower than the best, as a part of the best."""
        return self.seconds(candidate) / self.best_seconds - 1

    @cached_property
    def residuals(self) -> list[float]:
        """Log deviations of runs from the mean of their candidate, as spread as single runs are."""
        found = []
        for values in self._corrected.values():
            if len(values) > 1:
                logs = [math.log(value) for value in values]
                centre, scale = sum(logs) / len(logs), math.sqrt(len(logs) / (len(logs) - 1))
                found += [(value - centre) * scale for value in logs]
        return found or [0.0]


def complete(landscape: Landscape, trials: Sequence[Trial] | None = None) -> bool:
    """Whether every candidate has been run."""
    run = {trial.candidate.key for trial in (landscape.trials if trials is None else trials)}
    return all(candidate.key in run for candidate in landscape.space.candidates())


def next_to_record(landscape: Landscape, repeats: int) -> Candidate | None:
    """What to run next: first the plan, then again whatever its truth is doubtful of; None when all is known.

    A truth is doubtful when the runs disagree, or when the candidate is near enough to the best to be mistaken for it.
    """
    if len(landscape.trials) % REFERENCE_EVERY == 0:
        return landscape.space.base
    num_runs = Counter(trial.candidate.key for trial in landscape.trials)
    for repeat in range(repeats):
        missing = (c for c in shuffled(landscape.space, repeat) if num_runs[c.key] <= repeat)
        if (candidate := next(missing, None)) is not None:
            return candidate
    truth = Truth(landscape)
    doubtful = [
        candidate
        for candidate in landscape.space.candidates()
        if truth.num_runs(candidate) < _wanted_runs(truth, candidate, repeats)
    ]
    return min(doubtful, key=truth.num_runs, default=None)


def _wanted_runs(truth: Truth, candidate: Candidate, repeats: int) -> int:
    if not truth.num_runs(candidate):
        return 0
    wanted = repeats
    if truth.disagreement(candidate) > DISAGREEMENT:
        wanted += 1 if truth.regret(candidate) > FAR else 3
    if truth.regret(candidate) < NEAR:
        wanted = max(wanted, repeats + 3)
    return wanted
