"""A study, a candidate and a purpose to the request of one trial. Pure."""

import math
from typing import Any

from perftune.devices.cuda_allocator import allocator_environment
from perftune.records.candidate import ATTENTION, COMPILE, CUDA_ALLOCATOR, PRECISION, WORKERS, Candidate
from perftune.records.disturbance import undisturbed
from perftune.records.probe import Objective, ProbeSpec
from perftune.records.study import Study
from perftune.records.trial import Purpose, StopRule, Trial, TrialRequest
from perftune.search import give_up_step_seconds
from perftune.spec import workload_source

LEAST_SECONDS = 60.0
"""A trial may take so long in any case: importing, building and one step on a slow machine."""
FIRST_SECONDS = 900.0
"""The user's own arguments may, whatever the budget is: without them nothing can be said."""
TRIAL_SHARE = 0.15
"""A trial takes no more than this part of the budget, nor more than `TRIAL_RUNS` times the best one so far."""
TRIAL_RUNS = 4.0
KILL_FACTOR = 1.5
"""The child ends a trial in time by itself; this much later it is killed."""
LOOK_SHARE = 0.02
"""Part of the budget for which a trial of the search looks at steady steps, at most."""
SLOWEST_FIRST_STEP = 4.0
"""A first step so many times the best one's first step ends the trial: warm-up is in both, and bursts of other load
were seen to make a step two to three times slower."""

EVALUATION_SHARE, MOST_EVALUATION_SECONDS = 0.05, 30.0
"""Part of the budget that the final trial evaluates for, and no more than this."""

NEED_WORKERS = ("dataloader_prefetch_factor", "dataloader_persistent_workers")
"""What transformers refuses without data loader workers."""
SWITCH_COMPILE_ON = ("torch_compile_backend", "torch_compile_mode")
"""Either of them makes transformers compile, whatever ``torch_compile`` says."""

STOP_RULES = {
    Purpose.SEARCH: StopRule(min_steps=4, max_steps=16, max_seconds=6.0, relative_half_width=0.03),
    Purpose.RACE: StopRule(min_steps=6, max_steps=24, max_seconds=10.0, relative_half_width=0.01),
    Purpose.ABLATION: StopRule(min_steps=6, max_steps=24, max_seconds=10.0, relative_half_width=0.01),
    Purpose.LOSS: StopRule(),
    Purpose.WITHOUT_DROPOUT: StopRule(),
    Purpose.FINAL: StopRule(min_steps=3, max_steps=4, max_seconds=5.0),
    Purpose.EVALUATION: StopRule(min_steps=1, max_steps=1),
}
"""How long a trial looks, by what it is for."""
LOSSES = (Purpose.LOSS, Purpose.WITHOUT_DROPOUT)
"""What looks at losses and nothing else: without the worst batch."""
PROOFS = (*LOSSES, Purpose.FINAL)
"""What has to end before there is an answer: never cut short for being slow."""


def candidate_arguments(study: Study, candidate: Candidate) -> dict[str, Any]:
    """The user's own TrainingArguments fields, overlaid with what the candidate sets."""
    space = study.space
    tuned = candidate.training_arguments(space.global_batch_size, space.num_devices)
    arguments = {**study.probe.training_arguments, **tuned, "seed": _seed(study.probe)}
    if candidate.settings.get(PRECISION) == "fp32" and arguments.get("tf32"):
        arguments["tf32"] = False  # else the user's own would make it another precision
    undone: tuple[str, ...] = () if arguments.get(WORKERS) else NEED_WORKERS
    if candidate.settings.get(COMPILE) is False:
        undone += SWITCH_COMPILE_ON
    return {name: value for name, value in arguments.items() if name not in undone}


def _seed(probe: ProbeSpec) -> int:
    return int(probe.training_arguments.get("seed", probe.seed or 42))


def environment(candidate: Candidate) -> dict[str, str]:
    """Environment variables that a candidate sets; with ``default`` too, or the shell's would be taken."""
    value = candidate.settings.get(CUDA_ALLOCATOR)
    return {} if value is None else allocator_environment(str(value))


def bound_seconds(study: Study, purpose: Purpose, left_seconds: float) -> float:
    """How long the next trial may take, by the budget and by what trials have taken so far."""
    walls = [trial.wall_seconds for trial in study.completed()]
    if not walls:
        return max(FIRST_SECONDS, left_seconds)
    known = TRIAL_RUNS * min(walls)
    if purpose in PROOFS:
        return max(LEAST_SECONDS, 2 * known, left_seconds)
    share = TRIAL_SHARE * study.probe.budget.minutes * 60
    return max(LEAST_SECONDS, min(known, max(share, max(walls))))


def stop_rule(study: Study, purpose: Purpose, best: Trial | None, bound: float) -> StopRule:
    """When a trial has seen enough, or is sure to lose."""
    rule = STOP_RULES[purpose]
    seconds = min(rule.max_seconds, LOOK_SHARE * study.probe.budget.minutes * 60)
    update: dict[str, Any] = {"max_wall_seconds": bound, "max_seconds": seconds}
    if purpose is Purpose.SEARCH and best is not None and best.measurement is not None:
        update["give_up_step_seconds"] = give_up_step_seconds(best, study.probe.objective)
        if study.probe.objective is not Objective.PEAK_MEMORY:
            first_step = undisturbed(best.measurement).steps.step_seconds[0]
            update["give_up_first_step_seconds"] = SLOWEST_FIRST_STEP * first_step
    return rule.model_copy(update=update)


def final_evaluation_seconds(probe: ProbeSpec) -> float:
    """What the evaluation of the final trial may take: some generate, and would take all of the budget."""
    return min(MOST_EVALUATION_SECONDS, EVALUATION_SHARE * probe.budget.minutes * 60)


def trial_request(
    study: Study,
    candidate: Candidate,
    purpose: Purpose,
    number: int,
    *,
    left_seconds: float = math.inf,
    best: Trial | None = None,
    heat: int | None = None,
    worst_batch: bool = True,
    exact_steps: int | None = None,
    eval_batch_sizes: tuple[int, ...] = (),
    evaluation_seconds: float = 0.0,
) -> TrialRequest:
    """The request of one trial.

    Worst batch: after the measured steps of every trial but those that compare losses, so that each peak is that of
    the heaviest samples; in turns where it is asked for. Evaluation and a checkpoint: in the final trial.

    Args:
        study: with the trials so far.
        candidate: what is run.
        purpose: why.
        number: of the trial.
        left_seconds: of the budget.
        best: a trial of the best candidate so far: what is sure to be worse than it is stopped early.
        heat: the number that trials which are compared with one another share.
        worst_batch: False leaves it out.
        exact_steps: so many steps, whatever they show.
        eval_batch_sizes: are evaluated in turns.
        evaluation_seconds: for all of these; 0 is what the final trial gives to one evaluation.
    """
    worst = study.survey.worst_samples if purpose not in LOSSES and worst_batch else ()
    arguments = candidate_arguments(study, candidate)
    attention = candidate.settings.get(ATTENTION)
    final = purpose is Purpose.FINAL
    bound = bound_seconds(study, purpose, left_seconds)
    return TrialRequest(
        number=number,
        purpose=purpose,
        candidate=candidate,
        workload=workload_source(study.probe),
        arguments=arguments,
        attn_implementation=None if attention is None else str(attention),
        environment=environment(candidate),
        device=study.survey.device.kind,
        memory_limit_bytes=study.space.memory_limit_bytes,
        stop=stop_rule(study, purpose, best, bound),
        deadline_seconds=KILL_FACTOR * bound,
        worst_batch=tuple(sample.index for sample in worst[: candidate.micro_batch]),
        evaluate=study.survey.has_eval_dataset and (final or purpose is Purpose.EVALUATION),
        save_checkpoint=final,
        eval_batch_sizes=eval_batch_sizes,
        evaluation_seconds=evaluation_seconds or final_evaluation_seconds(study.probe),
        exact_steps=exact_steps,
        without_dropout=purpose is Purpose.WITHOUT_DROPOUT,
        heat=heat,
        num_processes=study.space.num_devices,
    )
