"""The phases of a study, each a question to the search and a trial until the answer is there."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from perftune.errors import NoCandidateError
from perftune.records.candidate import Candidate
from perftune.records.recommendation import LossCheck, Rejection
from perftune.records.study import Study, save_study
from perftune.records.trial import Outcome, Purpose, Trial
from perftune.search import Strategy, contenders, give_up_step_seconds, leader, next_in_race, winner
from perftune.search.loss import allow_for_noise, compare_losses, is_undecided, scaled_by_accumulation
from perftune.search.strategy import fits
from perftune.trials.runner import TrialRunner
from perftune.tuner.comparisons import (
    PAIRED,
    TRAINING,
    compare,
    describe,
    is_idle,
    is_worth_it,
    runs,
    without_each_line,
)
from perftune.tuner.directory import STUDY
from perftune.tuner.observer import Observer
from perftune.tuner.requests import trial_request

SEARCH_SHARE, RACE_SHARE, EXPLAIN_SHARE, VERIFY_SHARE = 0.4, 0.65, 0.85, 1.0
"""Parts of the budget, in trials and in minutes, that are spent when a phase has to end. What is left is for the loss
comparison and the final trial, which are run in any case, and the evaluation batch."""
MAX_ROUNDS = 4
RACE_COST = 1.5
"""A trial of the race looks longer than one of the search: about so many times its wall seconds."""
ROUNDS_TO_TELL = 3
"""Fewer paired runs give no useful interval (Student's t: 12.7 at one degree of freedom, 4.3 at two)."""
LOSS_STEPS, MORE_LOSS_STEPS = 24, 60
ABLATION_ROUNDS = 2
EVAL_BATCHES = (8, 16, 32, 64, 128, 256)
NUM_CHECKS = 5
"""Trials of the loss comparison, which may be repeated with more steps, and the final one."""
MAX_VERIFIED = 3
"""Contenders that are verified, one after the other, before the user's own arguments are kept."""


class Verified:
    """A candidate that passed, with what it passed."""

    def __init__(self, candidate: Candidate, loss_check: LossCheck | None, final: Trial) -> None:
        self.candidate, self.loss_check, self.final = candidate, loss_check, final


class Loop:
    """Runs trials and keeps the study. Every question is asked of the study alone, so a killed loop goes on."""

    def __init__(
        self, study: Study, directory: Path, runner: TrialRunner, strategy: Strategy, observer: Observer
    ) -> None:
        self.study = study
        self.rejected: list[Rejection] = []
        self._directory, self._runner, self._strategy, self._observer = directory, runner, strategy, observer

    # The budget is counted in what the study holds, not by a clock: it is the same after a resume.

    @property
    def spent_seconds(self) -> float:
        """What all trials cost, and the traces before them."""
        prior = self.study.space.prior
        return sum(trial.wall_seconds for trial in self.study.trials) + (prior.seconds if prior else 0.0)

    def _may(self, share: float, reserved: int = 0) -> bool:
        budget, num_trials = self.study.probe.budget, len(self.study.trials)
        return self.spent_seconds < share * budget.minutes * 60 and num_trials < share * budget.trials - reserved

    def run(
        self,
        candidate: Candidate,
        purpose: Purpose,
        *,
        give_up: float | None = None,
        exact_steps: int | None = None,
        eval_batch_size: int | None = None,
    ) -> Trial:
        """Run one trial and write it down."""
        number = max((trial.number for trial in self.study.trials), default=0) + 1
        request = trial_request(
            self.study,
            candidate,
            purpose,
            number,
            give_up_step_seconds=give_up,
            exact_steps=exact_steps,
            eval_batch_size=eval_batch_size,
        )
        self._observer.on_trial_start(self.study, request)
        trial = self._runner.run(request, self._observer.on_heartbeat)
        self.keep(trial)
        return trial

    def keep(self, trial: Trial) -> None:
        """Add a trial to the study, on disk too."""
        self.study = self.study.with_trial(trial)
        save_study(self.study, self._directory / STUDY)
        self._observer.on_trial_end(self.study, trial)

    def search(self) -> None:
        """Run what the strategy proposes until it has enough or the budget says so."""
        probe, space = self.study.probe, self.study.space
        self._observer.on_phase("search", f"{space.num_candidates} candidates")
        while self._may(SEARCH_SHARE) or not self.study.of(space.base):
            candidate = self._strategy.propose(space, self.study.trials, probe.objective)
            if candidate is None:
                return
            self.run(candidate, Purpose.SEARCH, give_up=self._give_up())

    def _give_up(self) -> float | None:
        best = leader(self.study.space, self.study.trials, self.study.probe.objective)
        trials = [t for t in self.study.of(best) if t.measurement is not None] if best else []
        return give_up_step_seconds(trials[-1], self.study.probe.objective) if trials else None

    def race(self) -> list[Candidate]:
        """Let the candidates that the search cannot tell apart run in turns; they are returned, best guess first."""
        probe, space = self.study.probe, self.study.space
        racers = contenders(space, self.study.trials, probe.objective, most=self._most_racers())
        if not racers:
            reasons = "; ".join(dict.fromkeys(t.failure.message for t in self.study.trials if t.failure))
            raise NoCandidateError(
                f"no candidate completed within {probe.target.headroom:.0%} of headroom, so there is nothing to "
                f"recommend: {reasons}. Raise target.memory, lower target.headroom, or allow smaller micro-batches"
            )
        self._observer.on_phase("race", f"{len(racers)} contenders in turns")
        while self._may(RACE_SHARE):
            candidate = next_in_race(racers, self.study.trials, probe.objective, probe.worthwhile, MAX_ROUNDS)
            if candidate is None:
                break
            self.run(candidate, Purpose.RACE)
        self._prove(racers)
        return racers

    def _prove(self, racers: Sequence[Candidate]) -> None:
        """Let the best and the user's own go on when the race had to end before a gain could be told at all.

        Without it a large gain is measured and then kept from the user, because two pairs have no useful interval.
        """
        probe, base = self.study.probe, self.study.space.base
        best = winner(self.study.space, racers, self.study.trials, probe.objective) or racers[0]
        if best == base or base not in racers:
            return
        while self._may(VERIFY_SHARE, reserved=NUM_CHECKS):
            candidate = next_in_race([best, base], self.study.trials, probe.objective, probe.worthwhile, ROUNDS_TO_TELL)
            if candidate is None:
                return
            self.run(candidate, Purpose.RACE)

    def _most_racers(self) -> int:
        """Contenders beside the user's own that the budget lets run often enough to tell."""
        budget = self.study.probe.budget
        searched = [trial for trial in self.study.trials if trial.purpose is Purpose.SEARCH]
        each = RACE_COST * median([t.wall_seconds for t in searched if t.measurement is not None] or [1.0])
        seconds = RACE_SHARE * budget.minutes * 60 - sum(trial.wall_seconds for trial in searched)
        num_trials = min((RACE_SHARE - SEARCH_SHARE) * budget.trials, seconds / each)
        return max(1, int(num_trials / ROUNDS_TO_TELL) - 1)

    def verify(self, ranking: Sequence[Candidate]) -> Verified | None:
        """The first of the ranking that passes, without the lines that do nothing.

        The loss is compared first, then comes a final trial with everything in its memory.
        """
        for candidate in map(self.simplify, ranking[:MAX_VERIFIED]):
            self._observer.on_phase(
                "verify", "loss against the reference, then a fresh run with evaluation and checkpoint"
            )
            check = None
            if candidate != self.study.space.base:
                check = self._check_loss(candidate)
                if check is None or not check.passed:
                    continue
            final = self._once(candidate, Purpose.FINAL)
            over = [final] if final.measurement is None else self._over_headroom(candidate)
            if not over:
                return Verified(candidate, check, final)
            self._reject(candidate, _why_not(over[-1]), over[-1].number)
        return None

    def _over_headroom(self, candidate: Candidate) -> list[Trial]:
        """Runs of a candidate that needed more than the headroom leaves: peaks of equal runs differ too."""
        return [t for t in runs(self.study, candidate, *TRAINING, Purpose.FINAL) if not fits(self.study.space, t)]

    def _reject(self, candidate: Candidate, reason: str, trial: int | None) -> None:
        self.rejected.append(Rejection(what=describe(candidate, self.study.space.base), reason=reason, trial=trial))

    def _once(self, candidate: Candidate, purpose: Purpose, exact_steps: int | None = None) -> Trial:
        """A trial of this purpose, from the study if it was run already."""
        known = [
            trial
            for trial in self.study.of(candidate)
            if trial.purpose is purpose
            and (exact_steps is None or trial.measurement is None or len(trial.measurement.steps) >= exact_steps)
        ]
        return known[-1] if known else self.run(candidate, purpose, exact_steps=exact_steps)

    def _check_loss(self, candidate: Candidate) -> LossCheck | None:
        tolerance = self.study.probe.loss_tolerance
        check = None
        for num_steps in (LOSS_STEPS, MORE_LOSS_STEPS):
            reference = self._loss_reference(candidate, num_steps)
            trial = self._once(candidate, Purpose.LOSS, num_steps)
            if trial.measurement is None or reference.measurement is None:
                failed = trial if trial.measurement is None else reference
                said = failed.failure.message if failed.failure else failed.outcome.value
                self._reject(candidate, f"its loss could not be compared: {said}", failed.number)
                return None
            scale = scaled_by_accumulation(trial, reference)
            check = compare_losses(trial, reference, tolerance)
            if not is_undecided(check):
                break
        check = allow_for_noise(check) if check is not None else None
        if check is not None and not check.passed:
            self._reject(candidate, _why_not_loss(check, scale), check.trials[0])
        return check

    def _loss_reference(self, candidate: Candidate, num_steps: int) -> Trial:
        """The user's own arguments; if they do not run here, the candidate in the user's precision and optimizer."""
        base = self.study.space.base
        if any(trial.outcome is Outcome.COMPLETED for trial in self.study.of(base)):
            return self._once(base, Purpose.LOSS, num_steps)
        same = {knob: base.settings[knob] for knob in ("precision", "optim") if knob in base.settings}
        return self._once(candidate.replace(**same), Purpose.LOSS, num_steps)

    def simplify(self, candidate: Candidate) -> Candidate:
        """The candidate without the lines that do nothing, if that is as good; each line is measured on the way."""
        base = self.study.space.base
        twins = without_each_line(candidate, base)
        if len(twins) < 2:
            return candidate
        self._observer.on_phase("explain", "each tuned line taken back in turn")
        self._in_turns((candidate, *twins.values(), base), ABLATION_ROUNDS)
        idle = {knob: base.settings[knob] for knob, twin in twins.items() if is_idle(self.study, candidate, twin)}
        simpler = candidate.replace(**idle)
        if simpler in (candidate, base):
            return candidate
        self._observer.on_phase("simplify", f"without {', '.join(idle)}")
        self._in_turns((simpler, candidate, base), ROUNDS_TO_TELL)
        return simpler if self._is_as_good(simpler, candidate) else candidate

    def _in_turns(self, candidates: Sequence[Candidate], num_rounds: int) -> None:
        """Run each so often for its reason, round by round, as the budget lets it."""
        for number in range(num_rounds):
            for candidate in candidates:
                done = [trial for trial in self.study.of(candidate) if trial.purpose is Purpose.ABLATION]
                failed = any(trial.measurement is None for trial in done)
                if len(done) <= number and not failed and self._may(EXPLAIN_SHARE):
                    self.run(candidate, Purpose.ABLATION)

    def _is_as_good(self, simpler: Candidate, candidate: Candidate) -> bool:
        worthwhile = self.study.probe.worthwhile
        against_candidate = compare(self.study, simpler, candidate)
        against_base = compare(self.study, simpler, self.study.space.base)
        base_runs = bool(runs(self.study, self.study.space.base, *PAIRED))
        return (
            against_candidate is not None
            and against_candidate.ratio.value > 1 - worthwhile
            and (not base_runs or is_worth_it(against_base, worthwhile))
        )

    def find_eval_batch(self, candidate: Candidate) -> None:
        """Larger evaluation batches until one fails or is no faster."""
        if not self.study.survey.has_eval_dataset:
            return
        self._observer.on_phase("evaluation", "evaluation batch size")
        tried = [t for t in self.study.of(candidate) if t.purpose is Purpose.EVALUATION]
        for batch in EVAL_BATCHES[len(tried) :]:
            tried_batch = self.study.survey.num_samples is None or batch <= self.study.survey.num_samples
            if not tried_batch or not self._may(VERIFY_SHARE) or is_flat(tried):
                return
            tried.append(self.run(candidate, Purpose.EVALUATION, exact_steps=1, eval_batch_size=batch))


def is_flat(trials: Sequence[Trial], worthwhile: float = 0.05) -> bool:
    """Whether the last evaluation failed, or was not faster than the best before it by what is worth a trial."""
    rates = [eval_rate(trial) for trial in trials]
    return bool(rates) and (rates[-1] == 0 or (len(rates) > 1 and rates[-1] < max(rates[:-1]) * (1 + worthwhile)))


def eval_rate(trial: Trial) -> float:
    """Evaluated samples per second; 0 for a trial that failed."""
    evaluation = trial.measurement.evaluation if trial.measurement else None
    return evaluation.num_samples / evaluation.seconds if evaluation else 0.0


def _why_not(trial: Trial) -> str:
    run = "the final run, with evaluation and checkpoint," if trial.purpose is Purpose.FINAL else "one of its runs"
    if trial.failure is not None:
        return f"{run} {trial.outcome.value}: {trial.failure.message}"
    return f"{run} needs more memory than the headroom leaves"


def _why_not_loss(check: LossCheck, scale: float | None) -> str:
    if scale is not None:
        return (
            f"the loss is {scale:.2f} times that of your own arguments from the first step on. The model averages its "
            "loss over the micro-batch and the Trainer does not correct for accumulation, so another micro-batch would "
            "change what is learned (see Trainer.model_accepts_loss_kwargs)"
        )
    interval = check.relative_difference
    told = "could not be told from" if is_undecided(check) else "differs by more than"
    return (
        f"over {check.num_steps} steps the loss {told} the tolerance of {check.tolerance:.1%}: "
        f"{interval.value:+.2%} ({interval.low:+.2%} to {interval.high:+.2%})"
    )
