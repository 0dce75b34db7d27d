"""A verified candidate to its evaluation batch: sizes take turns on the same samples, the user's own among them."""

import math

from perftune.decisions import compare
from perftune.heats import Heat
from perftune.records.candidate import Candidate
from perftune.records.study import Study
from perftune.records.trial import Evaluation, Purpose
from perftune.tuning.loop import Loop

SIZES = (8, 16, 32, 64, 128, 256)
EVAL_BATCH = "per_device_eval_batch_size"
SHARE, MOST_SECONDS = 0.04, 30.0
"""Part of the budget that evaluating may take, and no more than this."""
WORTH_A_LINE = 0.05
"""Another evaluation batch is told of if it is faster than the user's own by so much, and the chance for that is …"""
CHANCE = 0.9
IN_ONE_PROCESS = 0.005
"""Spread (log) of what a process could favour one batch size by: all run in the same one."""


def find_eval_batch(loop: Loop, candidate: Candidate) -> None:
    """Run the one trial that compares evaluation batches, if the time is there and it was not run before."""
    study = loop.study
    seconds = min(MOST_SECONDS, SHARE * loop.spending.total_seconds)
    has_time = loop.has_trials_left() and loop.spending.left_seconds() > loop.trial_seconds() + seconds
    known = any(trial.purpose is Purpose.EVALUATION for trial in study.of(candidate))
    if not study.survey.has_eval_dataset or not has_time or known:
        return
    loop.observer.on_phase("evaluation", "evaluation batch sizes in turns")
    sizes = tuple(sorted({*SIZES, own_eval_batch(study)}))
    with loop.spending.phase("checks"):
        loop.run(
            candidate, Purpose.EVALUATION, exact_steps=1, eval_batch_sizes=sizes, evaluation_seconds=seconds
        )  # fmt: skip


def own_eval_batch(study: Study) -> int:
    """The user's own, or what TrainingArguments has where nothing is said."""
    value = study.survey.arguments.get(EVAL_BATCH)
    return value if isinstance(value, int) and value > 0 else SIZES[0]


def best_eval_batch(study: Study, candidate: Candidate) -> int | None:
    """The fastest evaluation batch within the headroom; None where the user's own is about as fast, or none ran."""
    found = [one for trial in study.of(candidate) if trial.measurement for one in trial.measurement.evaluations]
    fitting = [one for one in found if (one.peak_bytes or 0) <= study.space.usable_memory_bytes]
    heat = _heat(fitting)
    if not heat:
        return None
    best, own = max(heat, key=lambda size: sum(value or 0.0 for value in heat[size])), str(own_eval_batch(study))
    if best == own or own not in heat:
        return None if best == own else int(best)
    compared = compare([heat], best, own, process_spread=IN_ONE_PROCESS)
    is_better = compared is not None and compared.chance_above(math.log1p(WORTH_A_LINE)) > CHANCE
    return int(best) if is_better else None


def _heat(evaluations: list[Evaluation]) -> Heat:
    """Size -> the logarithm of samples per second, round by round."""
    heat: dict[str, list[float | None]] = {}
    for one in sorted(evaluations, key=lambda one: one.round):
        rate = math.log(one.num_samples / one.seconds)
        heat.setdefault(str(one.per_device_eval_batch_size), []).append(rate)
    return heat
