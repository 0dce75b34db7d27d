"""A verified candidate to its evaluation batch: larger ones are compared on the same samples until one is no faster."""

from collections.abc import Sequence

from perftune.records.candidate import Candidate
from perftune.records.trial import Purpose, Trial
from perftune.tuning.loop import Loop

EVAL_BATCHES = (8, 16, 32, 64, 128, 256)
WORTH_A_TRIAL = 0.05
"""The next larger batch is tried if the last one was faster by this part."""


def find_eval_batch(loop: Loop, candidate: Candidate) -> None:
    """Larger evaluation batches until one fails or is no faster, as far as the time goes."""
    survey = loop.study.survey
    if not survey.has_eval_dataset:
        return
    loop.observer.on_phase("evaluation", "evaluation batch size")
    tried = [t for t in loop.study.of(candidate) if t.purpose is Purpose.EVALUATION]
    with loop.spending.phase("checks"):
        for batch in EVAL_BATCHES[len(tried) :]:
            is_too_large = survey.num_samples is not None and batch > survey.num_samples
            has_time = loop.has_trials_left() and loop.spending.left_seconds() > loop.trial_seconds()
            if is_too_large or not has_time or is_flat(tried):
                return
            tried.append(loop.run(candidate, Purpose.EVALUATION, exact_steps=1, eval_batch_size=batch))


def is_flat(trials: Sequence[Trial]) -> bool:
    """Whether the last evaluation failed, or was not faster than the best before it by what is worth a trial."""
    rates = [eval_rate(trial) for trial in trials]
    return bool(rates) and (rates[-1] == 0 or (len(rates) > 1 and rates[-1] < max(rates[:-1]) * (1 + WORTH_A_TRIAL)))


def eval_rate(trial: Trial) -> float:
    """Evaluated samples per second; 0 for a trial that failed."""
    evaluation = trial.measurement.evaluation if trial.measurement else None
    return evaluation.num_samples / evaluation.seconds if evaluation else 0.0
