"""What every phase of a study stands on: trials and heats are run, written down and paid for from one budget."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from perftune.errors import ArgumentsChangedError, NoRoomError
from perftune.isolation.heat import GoesOn, TurnPlan
from perftune.isolation.runner import TrialRunner
from perftune.records.candidate import SAMPLING, Candidate, Change
from perftune.records.recommendation import Rejection
from perftune.records.study import Study
from perftune.records.trial import Outcome, Purpose, Trial
from perftune.search import Strategy, leader
from perftune.search.same_training import trains_otherwise
from perftune.tuning.directory import STUDY
from perftune.tuning.observer import Observer
from perftune.tuning.requests import trial_request
from perftune.tuning.spending import Spending
from perftune.tuning.study_file import save_study

FINAL_COST = 1.5
"""The final trial also evaluates and saves: about so many times the wall seconds of a trial of the search."""


class NoRoom(NamedTuple):
    """A contender whose checkpoint found no room on the disk."""

    candidate: Candidate
    needed_bytes: int


class Loop:
    """Runs trials and keeps the study. Every question is asked of the study alone, so a killed loop goes on."""

    def __init__(
        self,
        study: Study,
        directory: Path,
        runner: TrialRunner,
        strategy: Strategy,
        observer: Observer,
        spending: Spending,
    ) -> None:
        self.study = study
        self.rejected: list[Rejection] = []
        self.no_room: NoRoom | None = None
        self.untold: list[Candidate] = []
        """Rejected for want of time: whether their loss follows could not be told."""
        self.strategy, self.observer, self.spending = strategy, observer, spending
        self.directory, self._runner = directory, runner
        self._leader: tuple[tuple[Trial, ...], Candidate | None] | None = None

    def has_trials_left(self, number: int = 1, share: float = 1.0) -> bool:
        """Whether so many more trials are within this part of the budget."""
        return len(self.study.trials) + number <= share * self.study.probe.budget.trials

    def trial_seconds(self) -> float:
        """What a trial of the search takes here; before there is any, what the study took so far."""
        walls = [t.wall_seconds for t in self.study.completed(Purpose.SEARCH)]
        return median(walls) if walls else self.spending.spent_seconds

    def final_seconds(self) -> float:
        """What has to be left for the final trial."""
        return FINAL_COST * self.trial_seconds()

    def leader(self) -> Candidate | None:
        """The best so far by the search's own models; None while nothing has completed."""
        if self._leader is None or self._leader[0] is not self.study.trials:
            found = leader(self.study.space, self.study.trials, self.study.probe.objective)
            self._leader = (self.study.trials, found)  # fitting the models takes a good part of a second
        return self._leader[1]

    def run(
        self,
        candidate: Candidate,
        purpose: Purpose,
        *,
        heat: int | None = None,
        exact_steps: int | None = None,
        eval_batch_sizes: tuple[int, ...] = (),
        evaluation_seconds: float = 0.0,
    ) -> Trial:
        """Run one trial and write it down."""
        request = trial_request(
            self.study,
            candidate,
            purpose,
            self.next_number(),
            left_seconds=self.spending.left_seconds(),
            best=self._best_trial() if purpose is Purpose.SEARCH else None,
            heat=heat,
            exact_steps=exact_steps,
            eval_batch_sizes=eval_batch_sizes,
            evaluation_seconds=evaluation_seconds,
        )
        self.observer.on_trial_start(self.study, request)
        trial = self._runner.run(request, self.observer.on_heartbeat)
        self.keep(trial)
        return trial

    def run_in_turns(
        self,
        candidates: Sequence[Candidate],
        purpose: Purpose,
        plan: TurnPlan,
        goes_on: GoesOn,
        *,
        worst_batch: bool = False,
    ) -> list[Trial]:
        """Run one heat: all contenders alive side by side. Their trials are written down when it is over."""
        first = self.next_number()
        requests = [
            trial_request(
                self.study,
                candidate,
                purpose,
                first + place,
                left_seconds=self.spending.left_seconds(),
                heat=first,
                worst_batch=worst_batch,
            )
            for place, candidate in enumerate(candidates)
        ]
        self.observer.on_heat_start(self.study, requests)
        trials = self._runner.run_in_turns(requests, plan, goes_on, self.observer.on_heartbeat)
        for trial in sorted(trials, key=lambda trial: trial.outcome is Outcome.DISK_FULL):
            self.keep(trial)
        return trials

    def keep(self, trial: Trial) -> None:
        """Add a trial to the study, on disk too.

        Raises:
            ArgumentsChangedError: it trained with other arguments than it was given, or otherwise than the user's own
                do. It is not kept: the fault is of the workload and not of the candidate, and a workload that was
                mended can go on with the study.
            NoRoomError: a disk was full. It is not kept either.
        """
        if trial.failure is not None and is_of_the_workload(trial):
            raise ArgumentsChangedError(trial.failure.message)
        if trial.failure is not None and trial.outcome is Outcome.DISK_FULL:
            raise NoRoomError(
                f"trial {trial.number}: {trial.failure.message}. Free some space and run the same command: finished "
                "trials are kept, and this one is run again",
                trial.failure.disk_bytes,
            )
        otherwise = self._trains_otherwise(trial)
        if otherwise is not None:
            raise ArgumentsChangedError(otherwise)
        self.study = self.study.with_trial(trial)
        self.save()
        self.observer.on_trial_end(self.study, trial)

    def _trains_otherwise(self, trial: Trial) -> str | None:
        """What a trial trained that the user's own arguments do not, with what to do."""
        probe, own = self.study.probe, [t for t in self.study.of(self.study.space.base) if t.measurement is not None]
        if not own:
            return None
        may_reorder = Change.DATA_ORDER in probe.allow or SAMPLING in probe.knobs
        return trains_otherwise(trial, own[0], may_reorder=may_reorder)

    def save(self) -> None:
        """Write the study, with what it has cost until now."""
        spent = {"spent_seconds": self.spending.spent_seconds, "phase_seconds": self.spending.phase_seconds}
        self.study = self.study.model_copy(update=spent)
        save_study(self.study, self.directory / STUDY)

    def note(self, text: str) -> None:
        """Something that the user should know of the whole study."""
        survey = self.study.survey
        if text not in survey.notes:
            survey = survey.model_copy(update={"notes": (*survey.notes, text)})
            self.study = self.study.model_copy(update={"survey": survey})

    def next_number(self) -> int:
        """Of the next trial; a heat has the number of the first of its trials."""
        return max((trial.number for trial in self.study.trials), default=0) + 1

    def _best_trial(self) -> Trial | None:
        best = self.leader()
        trials = [t for t in self.study.of(best) if t.measurement is not None] if best else []
        return trials[-1] if trials else None


def says_nothing_of_its_candidate(trial: Trial) -> bool:
    """Whether it is in no study: the workload or the disk has to be mended, and then it is run again."""
    return is_of_the_workload(trial) or trial.outcome is Outcome.DISK_FULL


def is_of_the_workload(trial: Trial) -> bool:
    """Whether a trial failed for a reason that any other would fail for."""
    wanted = f"{ArgumentsChangedError.__module__}.{ArgumentsChangedError.__qualname__}"
    return trial.failure is not None and trial.failure.error_type == wanted


def minutes_text(seconds: float) -> str:
    """A span that somebody has to wait, in whole minutes."""
    minutes = max(1, math.ceil(seconds / 60))
    return "1 minute" if minutes == 1 else f"{minutes} minutes"
