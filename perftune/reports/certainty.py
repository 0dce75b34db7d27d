"""A study to how sure its answer is, point by point: the comparison, the loss, memory, the budget, the predictions."""

from perftune.records.prediction_error import absolute_errors, predicted_and_measured
from perftune.records.recommendation import Decision, PairedComparison, Recommendation
from perftune.records.study import Study
from perftune.records.survey import WorstSample
from perftune.records.trial import Trial
from perftune.reports.document import Bullet
from perftune.reports.loss import loss_bullets
from perftune.reports.verdict import recommended
from perftune.reports.words import clean, counted, interval, joined
from perftune.units import format_bytes, format_seconds


def other(recommendation: Recommendation) -> str | None:
    """Whose figures are told where the user's own arguments are the answer; None where they are not."""
    if recommendation.decision is Decision.TUNED:
        return None
    return "the best so far" if recommendation.best_so_far else "the best other candidate"


def certainty(study: Study) -> list[Bullet]:
    """How sure the answer is.

    Raises:
        ValueError: the study has no recommendation yet.
    """
    recommendation = recommended(study)
    return [
        *_comparison(recommendation),
        *_loss(study, recommendation),
        *_memory(study, recommendation),
        *_budget(study),
        *_prediction(study),
    ]


def _comparison(recommendation: Recommendation) -> list[Bullet]:
    comparison = recommendation.comparison
    who = other(recommendation)
    if comparison is None:
        said = "nothing to compare, your own arguments gave no paired run."
        return [] if who else [Bullet(said, "Against yours")]
    ratio = comparison.ratio
    sure = "" if ratio.high == float("inf") else f", {ratio.confidence * 100:.0f} % interval"
    label = f"{_capital(who)} against yours" if who else "Against yours"
    return [Bullet(f"{interval(ratio)}{sure}, {how_compared(comparison)}.", label)]


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def how_compared(comparison: PairedComparison) -> str:
    """In turns side by side, or in runs one after the other."""
    if not comparison.in_turns:
        return "in runs one after the other, because the contenders do not fit into memory beside each other"
    if comparison.num_heats is None:
        return counted(comparison.num_pairs, "paired run")
    heats = f"in turns over {counted(comparison.num_heats, 'heat')}"
    if comparison.num_rounds is None:
        return heats
    each, rest = divmod(comparison.num_rounds, comparison.num_heats)
    if rest:
        return f"{heats} with {counted(comparison.num_rounds, 'round')} in all"
    return f"{heats} of {counted(each, 'round')}"


def _loss(study: Study, recommendation: Recommendation) -> list[Bullet]:
    check, who = recommendation.loss_check, other(recommendation)
    if check is None:
        return [] if who else [Bullet("not compared.", "Loss")]
    return loss_bullets(study, check, who)


def _trial(study: Study, number: int | None) -> Trial | None:
    return next((trial for trial in study.trials if trial.number == number), None)


def _memory(study: Study, recommendation: Recommendation) -> list[Bullet]:
    limit_bytes, left_bytes = study.space.memory_limit_bytes, recommendation.headroom_bytes
    free = (
        f"{format_bytes(limit_bytes - left_bytes)} of {format_bytes(limit_bytes)}, "
        f"{format_bytes(left_bytes)} ({left_bytes / limit_bytes * 100:.0f} %) left"
    )
    final = _trial(study, recommendation.final_trial)
    if final is None or final.measurement is None:
        return [Bullet(f"{free}. No final check was run.", "Memory")]
    peak = final.measurement.memory
    included = ["training"]
    included += ["the worst batch"] if final.measurement.worst_batch_ran else []
    included += ["evaluation"] if peak.evaluate_bytes is not None else []
    included += ["a checkpoint"] if peak.save_bytes is not None else []
    check = f"trial {final.number}, in a fresh process, with {joined(included)}"
    if peak.peak_bytes < limit_bytes - left_bytes:
        said = f"{free}, in the run that needed most; {check}, needed {format_bytes(peak.peak_bytes)}."
    else:
        said = f"{free}; {check}."
    found = [Bullet(said, "Memory")]
    if final.measurement.worst_batch_ran and study.survey.worst_samples:
        worst = study.survey.worst_samples[0]
        found.append(Bullet(f"the heaviest is sample #{worst.index}{_weight(worst)}.", "Worst batch"))
    return found


def _weight(worst: WorstSample) -> str:
    if worst.num_tokens or worst.num_elements is None:
        return f", {worst.num_tokens:,} tokens"
    return f", {worst.num_elements:,} numbers in its tensors"


def _budget(study: Study) -> list[Bullet]:
    """What was asked for, what it came to, and by what."""
    if not study.spent_seconds:
        return []
    minutes = study.probe.budget.minutes
    asked = f"{minutes:g} minute{'' if minutes == 1 else 's'} asked"
    phases = [f"{clean(phase)} {format_seconds(seconds)}" for phase, seconds in study.phase_seconds.items() if seconds]
    by = f": {', '.join(phases)}" if phases else ""
    return [Bullet(f"{asked}, {format_seconds(study.spent_seconds)} used{by}.", "Budget")]


def _prediction(study: Study) -> list[Bullet]:
    """How far off the predictions were, where there were any."""
    compared = predicted_and_measured(study)
    if not compared:
        return []
    usual, most = absolute_errors([one.memory_error for one in compared])
    candidates = counted(len(compared), "candidate")
    said = f"peak memory {usual * 100:.0f} % off in the median of {candidates}, at most {most * 100:.0f} %"
    times = [error for one in compared if (error := one.time_error) is not None]
    if times:
        usual, most = absolute_errors(times)
        said += f"; time of a step {usual * 100:.0f} %, at most {most * 100:.0f} %"
    said += ". Nothing rests on it: what is told here was measured."
    return [Bullet(said, "Prediction from shapes, before the first trial")]
