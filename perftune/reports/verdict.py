"""A study's recommendation to its answer in one sentence: tuned, keep yours, or not decided and what it would take."""

from perftune.records.probe import Objective
from perftune.records.recommendation import Decision, PairedComparison, Recommendation
from perftune.records.study import Study
from perftune.reports.words import chance, clean, percent, settings


def recommended(study: Study) -> Recommendation:
    """The recommendation of a finished study.

    Raises:
        ValueError: there is none yet.
    """
    if study.recommendation is None:
        raise ValueError("the study has no recommendation yet")
    return study.recommendation


def verdict(study: Study) -> str:
    """The answer.

    Raises:
        ValueError: the study has no recommendation yet.
    """
    recommendation = recommended(study)
    if recommendation.decision is Decision.TUNED:
        return _tuned(recommendation, study.probe.objective)
    if recommendation.decision is Decision.NOT_DECIDED:
        return _not_decided(study, recommendation)
    return _kept(recommendation, study.probe.worthwhile)


def _tuned(recommendation: Recommendation, objective: Objective) -> str:
    comparison = recommendation.comparison
    if comparison is None:
        return "Tuned: your own arguments do not run here, these do."
    what = {
        Objective.PEAK_MEMORY: "less memory at peak",
        Objective.TOKENS_PER_SECOND: "the tokens per second",
    }.get(objective, "the samples per second")
    better = recommendation.chance_better
    sure = "" if better is None else f", {chance(better)} sure"
    return f"Tuned: {comparison.ratio.value:.2f}× {what}{_range(comparison)}{sure}."


def _kept(recommendation: Recommendation, worthwhile: float) -> str:
    comparison = recommendation.comparison
    if comparison is not None and comparison.ratio.value >= 1 + worthwhile:
        return "Keep yours: nothing that was measured is reliably better."
    return f"Keep yours: nothing that was measured is better by {percent(worthwhile)} or more."


def _not_decided(study: Study, recommendation: Recommendation) -> str:
    needs = "" if recommendation.needs is None else f"; {clean(recommendation.needs)} would tell"
    best, comparison = recommendation.best_so_far, recommendation.comparison
    if best is None and comparison is not None:
        said = "nothing that ran is better than your own arguments, but the budget had no room for more"
        return f"Not decided: {said}{needs}."
    if best is None:
        return f"Not decided: the budget had no room to compare anything with your own arguments{needs}."
    who = settings(best, study.space.base)
    if comparison is None:
        said = "looks best, but the budget had no room to compare it with your own arguments"
        return f"Not decided: {who} {said}{needs}."
    times = f"{comparison.ratio.value:.2f}×"
    memory = study.probe.objective is Objective.PEAK_MEMORY
    looks = f"seems to need {times} less memory at peak" if memory else f"looks {times} as fast"
    better = recommendation.chance_better
    likely = "" if better is None else f", {chance(better)} likely to be better"
    return f"Not decided: {who} {looks}{_range(comparison)}{likely}{needs}."


def _range(comparison: PairedComparison) -> str:
    ratio = comparison.ratio
    return "" if ratio.high == float("inf") else f" ({ratio.low:.2f} to {ratio.high:.2f})"
