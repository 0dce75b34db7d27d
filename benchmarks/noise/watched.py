"""A probe to its study, and to what the study cost of the user's time: when the first candidate ran, and the whole."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perftune.records.candidate import Candidate
from perftune.records.probe import ProbeSpec
from perftune.records.study import Study
from perftune.records.trial import Purpose, Trial, TrialRequest
from perftune.spec import load_probe
from perftune.tuning import SilentObserver, probe_study


@dataclass(frozen=True)
class Asked:
    """A finished study with the seconds of the wall clock that it took."""

    study: Study
    seconds: float
    first_begun_seconds: float | None
    """When the first candidate beside the user's own began; None: there was none."""
    first_measured_seconds: float | None
    longest_trial_seconds: float

    @property
    def chosen(self) -> Candidate:
        """What is recommended."""
        assert self.study.recommendation is not None
        return self.study.recommendation.candidate

    def figures(self) -> dict[str, Any]:
        """For the table."""
        assert self.study.recommendation is not None
        said = self.study.recommendation
        budget = self.study.probe.budget.minutes * 60
        changed = {k: v for k, v in said.candidate.settings.items() if self.study.space.base.settings[k] != v}
        return {
            "decision": said.decision.value,
            "changed": changed,
            "told": said.comparison.ratio.value if said.comparison else None,
            "chance_better": said.chance_better,
            "best_so_far": said.best_so_far.settings if said.best_so_far else None,
            "num_trials": len(self.study.trials),
            "num_search_trials": sum(trial.purpose is Purpose.SEARCH for trial in self.study.trials),
            "seconds": round(self.seconds, 1),
            "of_budget": round(self.seconds / budget, 3),
            "first_begun": _share(self.first_begun_seconds, budget),
            "first_measured": _share(self.first_measured_seconds, budget),
            "longest_trial_seconds": round(self.longest_trial_seconds, 1),
            "phases": {name: round(value, 1) for name, value in self.study.phase_seconds.items()},
        }


def _share(seconds: float | None, budget: float) -> float | None:
    return None if seconds is None else round(seconds / budget, 3)


class _Clocked(SilentObserver):
    """Notes when the first trial of another candidate begins and ends."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.first_begun: float | None = None
        self.first_measured: float | None = None

    def on_trial_start(self, study: Study, request: TrialRequest) -> None:
        if self.first_begun is None and request.candidate != study.space.base:
            self.first_begun = time.monotonic() - self.begun

    def on_heat_start(self, study: Study, requests: Sequence[TrialRequest]) -> None:
        self.on_trial_start(study, requests[0])

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        if self.first_measured is None and trial.candidate != study.space.base:
            self.first_measured = time.monotonic() - self.begun


def with_minutes(path: Path, minutes: float | None) -> ProbeSpec:
    """A probe file with another budget; None leaves its own."""
    probe = load_probe(path)
    if minutes is None:
        return probe
    return probe.model_copy(update={"budget": probe.budget.model_copy(update={"minutes": minutes})})


def ask(probe: ProbeSpec, folder: Path) -> Asked:
    """Run a study from nothing, traces too."""
    clocked = _Clocked()
    study = probe_study(probe, folder, observer=clocked)
    seconds = time.monotonic() - clocked.begun
    longest = max(trial.wall_seconds for trial in study.trials)
    return Asked(study, seconds, clocked.first_begun, clocked.first_measured, longest)
