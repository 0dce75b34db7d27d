"""What the loop tells while it runs; a live view listens, a test records."""

from collections.abc import Sequence
from typing import Protocol

from perftune.records.study import Study
from perftune.records.trial import Heartbeat, Trial, TrialRequest


class Observer(Protocol):
    """Is told of everything, in order."""

    def on_phase(self, phase: str, text: str) -> None:
        """A phase begins: ``survey``, ``search``, ``race``, ``explain``, ``simplify``, ``verify``,
        ``evaluation`` or ``done``."""

    def on_survey(self, study: Study) -> None:
        """The workload is known, or a study goes on."""

    def on_trial_start(self, study: Study, request: TrialRequest) -> None:
        """A trial begins."""

    def on_heat_start(self, study: Study, requests: Sequence[TrialRequest]) -> None:
        """Trials that take turns begin, all together."""

    def on_heartbeat(self, heartbeat: Heartbeat) -> None:
        """The running trial is alive."""

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """A trial ended; it is in the study."""

    def on_done(self, study: Study) -> None:
        """The study has its recommendation."""


class SilentObserver:
    """Listens to nothing."""

    def on_phase(self, phase: str, text: str) -> None:
        """Ignore."""

    def on_survey(self, study: Study) -> None:
        """Ignore."""

    def on_trial_start(self, study: Study, request: TrialRequest) -> None:
        """Ignore."""

    def on_heat_start(self, study: Study, requests: Sequence[TrialRequest]) -> None:
        """Ignore."""

    def on_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Ignore."""

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """Ignore."""

    def on_done(self, study: Study) -> None:
        """Ignore."""
