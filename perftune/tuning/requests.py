"""A study, a candidate and a purpose to the request of one trial. Pure."""

from typing import Any

from perftune.devices.cuda_allocator import allocator_environment
from perftune.records.candidate import ATTENTION, CUDA_ALLOCATOR, WORKERS, Candidate
from perftune.records.probe import ProbeSpec
from perftune.records.study import Study
from perftune.records.trial import Purpose, StopRule, TrialRequest
from perftune.spec import workload_source

FIRST_DEADLINE_SECONDS = 900.0
"""Of trials before any has completed: nothing is known of the workload yet."""
MIN_DEADLINE_SECONDS = 120.0
DEADLINE_RUNS = 8.0
"""Later trials may take so many times the longest completed one: a shared machine was seen to be 8 times slower."""

NEED_WORKERS = ("dataloader_prefetch_factor", "dataloader_persistent_workers")
"""What transformers refuses without data loader workers."""

STOP_RULES = {
    Purpose.SEARCH: StopRule(min_steps=4, max_steps=16, max_seconds=6.0, relative_half_width=0.03),
    Purpose.RACE: StopRule(min_steps=8, max_steps=24, max_seconds=10.0, relative_half_width=0.01),
    Purpose.ABLATION: StopRule(min_steps=6, max_steps=16, max_seconds=6.0, relative_half_width=0.02),
    Purpose.LOSS: StopRule(),
    Purpose.FINAL: StopRule(min_steps=3, max_steps=4, max_seconds=5.0),
    Purpose.EVALUATION: StopRule(min_steps=1, max_steps=1),
}
"""How long a trial looks, by what it is for."""


def candidate_arguments(study: Study, candidate: Candidate) -> dict[str, Any]:
    """The user's own TrainingArguments fields, overlaid with what the candidate sets."""
    space = study.space
    tuned = candidate.training_arguments(space.global_batch_size, space.num_devices)
    arguments = {**study.probe.training_arguments, **tuned, "seed": _seed(study.probe)}
    if not arguments.get(WORKERS):
        for name in NEED_WORKERS:
            arguments.pop(name, None)
    return arguments


def _seed(probe: ProbeSpec) -> int:
    return int(probe.training_arguments.get("seed", probe.seed or 42))


def environment(candidate: Candidate) -> dict[str, str]:
    """Environment variables that a candidate sets."""
    value = candidate.settings.get(CUDA_ALLOCATOR)
    return allocator_environment(str(value)) if value not in (None, "default") else {}


def deadline_seconds(study: Study) -> float:
    """How long the next trial may take."""
    walls = [trial.wall_seconds for trial in study.completed()]
    return max(MIN_DEADLINE_SECONDS, DEADLINE_RUNS * max(walls)) if walls else FIRST_DEADLINE_SECONDS


def trial_request(
    study: Study,
    candidate: Candidate,
    purpose: Purpose,
    number: int,
    *,
    give_up_step_seconds: float | None = None,
    exact_steps: int | None = None,
    eval_batch_size: int | None = None,
) -> TrialRequest:
    """The request of one trial.

    Worst batch: in every trial but those that compare losses, so that each peak is that of the heaviest samples.
    Evaluation and a checkpoint: in the final trial.
    """
    worst = study.survey.worst_samples if purpose is not Purpose.LOSS else ()
    arguments = candidate_arguments(study, candidate)
    if eval_batch_size is not None:
        arguments["per_device_eval_batch_size"] = eval_batch_size
    attention = candidate.settings.get(ATTENTION)
    final = purpose is Purpose.FINAL
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
        stop=STOP_RULES[purpose].model_copy(update={"give_up_step_seconds": give_up_step_seconds}),
        deadline_seconds=deadline_seconds(study),
        worst_batch=tuple(sample.index for sample in worst[: candidate.micro_batch]),
        evaluate=study.survey.has_eval_dataset and (final or purpose is Purpose.EVALUATION),
        save_checkpoint=final,
        exact_steps=exact_steps,
        num_processes=study.space.num_devices,
    )
