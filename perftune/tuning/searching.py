"""The search phase: what the strategy proposes is tried, and traced in between, while the budget has time for it."""

from typing import Protocol

from perftune.records.prior import Prior
from perftune.records.study import Study
from perftune.records.trial import Outcome, Purpose
from perftune.tuning.costs import heat_seconds
from perftune.tuning.loop import Loop, minutes_text
from perftune.tuning.nothing import nothing_completed
from perftune.tuning.racing import LEAST_HEATS, LEAST_ROUNDS

SEARCH_SHARE = 0.45
"""Part of the budget, in minutes and in trials, that is spent when the search has to end."""
TRACE_SHARE = 0.1
"""Part of the budget that traces may take."""
FIRST_SHARE = 0.2
"""By this part of the budget a candidate beside the user's own has been measured: traces wait until then."""
LEAST_TRACE_SECONDS = 3.0
ALIKE = 2
"""Candidates that crash alike before it is taken for a fault of the workload."""


class PriorTracer(Protocol):
    """What traces one variant after the other."""

    def step(self, seconds: float) -> Prior | None:
        """Trace what matters most and has not been traced, if that fits into so many seconds; None if nothing did."""

    @property
    def failure(self) -> str | None:
        """Why nothing can be predicted; None while something may be."""


def search(loop: Loop, tracer: PriorTracer | None = None) -> None:
    """Run what the strategy proposes until it has enough or the budget says so.

    The user's own arguments and one other candidate are tried in any case.

    Raises:
        NoCandidateError: the first candidates crash, and all with the same words.
    """
    loop.observer.on_phase("search", f"{loop.study.space.num_candidates:,} candidates")
    with loop.spending.phase("search"):
        while _may_go_on(loop):
            if tracer is not None:
                _trace(loop, tracer)
            study = loop.study
            candidate = loop.strategy.propose(study.space, study.trials, study.probe.objective)
            if candidate is None:
                return
            loop.run(candidate, Purpose.SEARCH)
            if not study.trials:
                _say_if_too_little(loop)
            _end_if_all_crash_alike(loop.study)


def _end_if_all_crash_alike(study: Study) -> None:
    """Two different candidates that crash with the same words and nothing that ran: a third would crash, too.

    Raises:
        NoCandidateError: says with which.
    """
    crashed = [t for t in study.trials if t.failure is not None and t.outcome is Outcome.CRASHED]
    different = {t.candidate.key for t in crashed}
    if (
        len(crashed) == len(study.trials)
        and len(different) >= ALIKE
        and len({t.failure.message for t in crashed if t.failure}) == 1
    ):
        raise nothing_completed(study)


def _may_go_on(loop: Loop) -> bool:
    trials = loop.study.trials
    if len({trial.candidate.key for trial in trials}) < 2:
        return True
    has_trials = len(trials) < SEARCH_SHARE * loop.study.probe.budget.trials
    pair = [loop.leader() or loop.study.space.base, loop.study.space.base]
    kept = LEAST_HEATS * heat_seconds(loop.study, pair, LEAST_ROUNDS) + loop.final_seconds() + loop.trial_seconds()
    return has_trials and loop.spending.left_seconds(SEARCH_SHARE) > 0 and loop.spending.left_seconds() > kept


def _say_if_too_little(loop: Loop) -> None:
    """The user's own has run, so what an answer takes can be said: another trial, heats of two, the final checks."""
    base = loop.study.space.base
    turns_seconds = LEAST_HEATS * heat_seconds(loop.study, [base, base], LEAST_ROUNDS)
    needed = loop.spending.spent_seconds + loop.trial_seconds() + turns_seconds + loop.final_seconds()
    if needed > loop.spending.total_seconds:
        given = minutes_text(loop.spending.total_seconds)
        said = f"{given} can hardly tell anything apart here; {minutes_text(needed)} could, and more searches further"
        loop.observer.on_phase("budget", said)
        loop.note(said)


def _trace(loop: Loop, tracer: PriorTracer) -> None:
    """Not before the user's own has run, whose seconds say what a trial costs."""
    spending = loop.spending
    if not loop.study.trials:
        return
    seconds = TRACE_SHARE * spending.total_seconds - spending.phase_seconds.get("traces", 0.0)
    if len({trial.candidate.key for trial in loop.study.trials}) < 2:
        seconds = min(seconds, spending.left_seconds(FIRST_SHARE) - loop.trial_seconds())
    if seconds < LEAST_TRACE_SECONDS:
        return
    with spending.phase("traces"):
        prior = tracer.step(seconds)
    if prior is None and tracer.failure is not None:
        loop.note(f"nothing was predicted: {tracer.failure}")
    if prior is not None:
        space = loop.study.space.model_copy(update={"prior": prior})
        loop.study = loop.study.model_copy(update={"space": space})
        loop.save()
