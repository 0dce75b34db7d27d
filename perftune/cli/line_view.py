"""Trials to plain lines, one per finished trial, for logs and pipes: no control codes, nothing redrawn."""

from collections.abc import Sequence

from perftune.cli.streams import say
from perftune.cli.trial_text import trial_line
from perftune.records.study import Study
from perftune.records.trial import Heartbeat, Trial, TrialRequest


class LineView:
    """Prints a line when a phase begins and when a trial ends."""

    def on_phase(self, phase: str, text: str) -> None:
        """Say what begins."""
        say(f"{phase}: {text}")

    def on_survey(self, study: Study) -> None:
        """Say what was found."""
        survey = study.survey
        say(
            f"{survey.model_class}, {survey.num_parameters:,} parameters, on {survey.device.name}; "
            f"{len(study.trials)} trials known"
        )

    def on_trial_start(self, study: Study, request: TrialRequest) -> None:
        """Nothing yet: the line comes with the result."""

    def on_heat_start(self, study: Study, requests: Sequence[TrialRequest]) -> None:
        """Nothing yet: a line for each comes when the heat is over."""

    def on_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Nothing: a log holds results."""

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """Say how it ended."""
        say(trial_line(study, trial))

    def on_done(self, study: Study) -> None:
        """The summary follows."""
