"""A study whose trials are done to its recommendation: decision, lines with their reasons, what was rejected. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perftune.decisions import Answer, Verdict
from perftune.records.base import Setting
from perftune.records.candidate import (
    ATTENTION,
    CHECKPOINTING,
    COMPILE,
    CUDA_ALLOCATOR,
    MICRO_BATCH,
    PRECISION,
    Candidate,
)
from perftune.records.recommendation import (
    Decision,
    Interval,
    Recommendation,
    Rejection,
    Summary,
    TunedLine,
)
from perftune.records.study import Study
from perftune.records.summary import summarize
from perftune.records.trial import Measurement, Purpose, Trial
from perftune.search import bounds, leader, ruled_out
from perftune.tuning.checks import Verified
from perftune.tuning.comparisons import (
    TRAINING,
    carrier,
    chance_better,
    compare,
    describe,
    line_effect,
    runs,
    without_each_line,
)
from perftune.tuning.compiling import compile_cost, steps_of_run
from perftune.tuning.evaluating import EVAL_BATCH, best_eval_batch
from perftune.tuning.heats import PAIRED
from perftune.tuning.nothing import nothing_passed
from perftune.tuning.requests import candidate_arguments, environment
from perftune.units import format_bytes, format_seconds

LIKELY = 0.5
"""A candidate that is less likely than this to be better than the user's own is not the best so far: theirs is."""
MAX_REJECTED = 24


def _field(study: Study, knob: str, value: Setting, own: Setting) -> tuple[str, Setting, Setting]:
    """The line that a knob becomes in a TrainingArguments file: name, value, the user's own."""
    if knob == PRECISION:
        named = str(value) if value != "fp32" else str(own)
        return named, value != "fp32", own == named
    if knob == CHECKPOINTING and CHECKPOINTING not in study.survey.argument_fields:
        return "gradient_checkpointing", value, own
    return knob, value, own


def _reason(effect: Interval | None, memory_bytes: int | None, twin_failed: str | None) -> str:
    if twin_failed:
        return f"without it the run fails: {twin_failed}"
    if effect is None:
        return "part of the candidate that won; its own effect was not measured"
    said = (
        f"{effect.value:.2f} times as fast with it as without ({effect.low:.2f} to {effect.high:.2f})"
        if effect.low > 1 or effect.high < 1
        else f"no difference in speed that could be told ({effect.low:.2f} to {effect.high:.2f} times as fast)"
    )
    if memory_bytes is None or abs(memory_bytes) < 1 << 20:
        return said
    return f"{said}, {format_bytes(abs(memory_bytes))} {'more' if memory_bytes > 0 else 'less'} at peak"


def tuned_lines(study: Study, candidate: Candidate) -> tuple[TunedLine, ...]:
    """Every argument that differs from the user's own, with its measured effect."""
    lines = []
    base = study.space.base
    for knob, twin in without_each_line(candidate, base).items():
        measured = carrier(study, candidate, knob)
        without = measured.replace(**{knob: base.settings[knob]})
        effect, memory_bytes = line_effect(study, measured, without)
        failures = [t.failure for t in study.of(twin) if t.failure is not None]
        failed = failures[0].message if failures and effect is None else None
        field, value, own = _field(study, knob, candidate.settings[knob], base.settings[knob])
        reason = _reason(effect, memory_bytes, failed)
        if effect is not None and measured != candidate:
            reason += f", beside {describe(measured, candidate)}"
        if knob == COMPILE and (cost := compile_cost(study, measured, without)):
            num_steps = steps_of_run(study)
            reason += f"; {cost}" + (f" of your {num_steps:,}" if num_steps and cost.num_steps <= num_steps else "")
        lines.append(
            TunedLine(
                field=field, value=value, user_value=own, speedup=effect, memory_bytes=memory_bytes, reason=reason
            )
        )
        if knob == MICRO_BATCH:
            lines.append(_accumulation_line(study, candidate))
    return tuple(lines)


def _accumulation_line(study: Study, candidate: Candidate) -> TunedLine:
    space = study.space
    steps = space.global_batch_size // (candidate.micro_batch * space.num_devices)
    own = space.global_batch_size // (space.base.micro_batch * space.num_devices)
    reason = (
        f"keeps the global batch: {candidate.micro_batch} × {steps} × {space.num_devices} = {space.global_batch_size}"
    )
    return TunedLine(field="gradient_accumulation_steps", value=steps, user_value=own, reason=reason)


def emitted_arguments(study: Study, candidate: Candidate) -> dict[str, Any]:
    """The user's base with the tuned values; what is the user's own anyway is written only if the user wrote it."""
    own = study.probe.training_arguments
    tuned = candidate_arguments(study, candidate)
    changed = {line.field for line in tuned_lines(study, candidate)}
    keep = {*own, *changed, *_held(study, candidate), MICRO_BATCH, "gradient_accumulation_steps"} - {
        "gradient_checkpointing",
        CHECKPOINTING,
    }
    arguments = {name: value for name, value in tuned.items() if name in keep and value is not None}
    if tuned.get(CHECKPOINTING) or {CHECKPOINTING, "gradient_checkpointing"} & own.keys():
        field, value, _ = _field(study, CHECKPOINTING, bool(tuned.get(CHECKPOINTING)), None)
        arguments[field] = value
    if study.survey.device.kind == "cpu":
        arguments["use_cpu"] = True  # without it transformers refuses half precision where there is no GPU
    return arguments


def _held(study: Study, candidate: Candidate) -> set[str]:
    """Arguments that the probe holds at another value than the user's own run has: the base candidate has them too."""
    own = study.survey.base
    return {
        _field(study, knob, value, own[knob])[0]
        for knob, value in candidate.settings.items()
        if knob in own and value != own[knob]
    }


def _needed(study: Study, candidate: Candidate, knob: str) -> Setting:
    """The value of a knob that is no argument, where the user's own run has another."""
    value = candidate.settings.get(knob)
    return value if value != study.survey.base.get(knob) else None


def rejections(study: Study, candidate: Candidate, earlier: Sequence[Rejection]) -> tuple[Rejection, ...]:
    """What was not chosen and why: failed trials, values that cannot win by their bound, values not possible here."""
    base = study.space.base
    found = list(earlier)
    found += [
        Rejection(what=describe(t.candidate, base), reason=f"{t.outcome.value}: {t.failure.message}", trial=t.number)
        for t in study.trials
        if t.failure is not None and all(t.number != known.trial for known in earlier)
    ]
    best = leader(study.space, study.trials, study.probe.objective) or candidate
    for bound in bounds(study.space, study.trials, study.probe.objective, study.probe.worthwhile):
        what = describe(bound.candidate, best)
        if what in describe(candidate, best).split(", "):
            continue  # the race chose a value that the search had not put first
        found.append(Rejection(what=what, reason=bound.reason.removeprefix(f"{what}: ")))
    for why in (ruled_out(study.probe, study.survey), study.survey.unsupported):
        for knob, reasons in why.items():
            for value, reason in reasons.items():
                found.append(Rejection(what=knob if value == "*" else f"{knob}={value}", reason=reason))
    return tuple(found[:MAX_REJECTED])


def _summary(study: Study, candidate: Candidate) -> Summary | None:
    trials = runs(study, candidate, *PAIRED) or runs(study, candidate, *TRAINING, Purpose.FINAL)
    target = study.probe.target
    return summarize(trials, target.price_per_hour, target.count) if trials else None


def _notes(study: Study, verified: Verified | None) -> tuple[str, ...]:
    notes = list(study.survey.notes)
    base_runs = runs(study, study.space.base, *TRAINING)
    if not base_runs:
        said = [t.failure.message for t in study.of(study.space.base) if t.failure]
        notes.append(
            f"your own arguments do not run within the limit here: {said[0] if said else 'no trial completed'}"
        )
    check = verified.loss_check if verified else None
    if check is not None and check.is_noisy:
        most = max(abs(check.relative_difference.low), abs(check.relative_difference.high))
        notes.append(
            f"the loss is noisy: no difference was seen over {check.num_steps} steps, but only {most:.1%} is excluded"
        )
    if verified is not None and verified.final is not None and verified.final.measurement is not None:
        notes += _final_notes(study, verified.final.measurement)
    if verified is None:
        notes.append("no contender passed the final checks")
    notes += [*_frozen(study, verified), *_kills(study), *_disturbances(study)]
    if not study.survey.worst_samples:
        notes.append("peaks are those of the measured batches: the worst batch of the data could not be found")
    return tuple(notes)


def _final_notes(study: Study, final: Measurement) -> list[str]:
    """What of evaluation and checkpoint is not in the figures."""
    notes, all_samples = [], study.survey.num_eval_samples
    if final.evaluation_error is not None:
        notes.append(f"evaluation raised {final.evaluation_error}; its memory is not in the figures")
    evaluated = final.evaluation
    if evaluated is not None and all_samples is not None and all_samples > evaluated.num_samples:
        seconds = evaluated.seconds * all_samples / evaluated.num_samples
        notes.append(
            f"evaluation was run on the first {evaluated.num_samples:,} of {all_samples:,} samples, and all of them "
            f"would take about {format_seconds(seconds)}; what your Trainer keeps of each, such as logits, takes more "
            "memory with all of them than is told here"
        )
    if final.checkpoint_error is not None:
        is_off = study.probe.training_arguments.get("save_strategy") in ("no", False)
        so = ", and with save_strategy “no” none is written" if is_off else "; your own training would fail there, too"
        notes.append(f"a checkpoint cannot be written: it raised {final.checkpoint_error}{so}")
    return notes


def _frozen(study: Study, verified: Verified | None) -> list[str]:
    """What trains later than the trials last is in none of their figures."""
    final = verified.final.measurement if verified and verified.final else None
    trained = final.num_trainable_parameters if final else None
    built = study.survey.num_trainable_parameters
    if verified is None or trained is None or trained >= built:
        return []
    prior = study.space.prior
    predicted = prior.of(verified.candidate.settings) if prior else None
    needed = f"; by the prediction it then needs {format_bytes(predicted.peak_memory_bytes)}" if predicted else ""
    said = (
        f"while it was measured, {trained:,} of {built:,} parameters trained: something in your code, such as a "
        "callback, has frozen the others. Where they train later, a step takes longer and more memory than the "
        f"figures here{needed}"
    )
    return [said]


def _kills(study: Study) -> list[str]:
    """Somebody on the machine ends processes, which the user may want to look into."""
    killed = [str(trial.number) for trial in study.trials if trial.num_kills]
    if not killed:
        return []
    what = f"trial {killed[0]} was" if len(killed) == 1 else f"trials {', '.join(killed)} were"
    return [f"{what} killed from outside, not by perftune, and run again"]


def _disturbances(study: Study) -> list[str]:
    """What the driver said of the GPU right after trials, as far as it makes their figures doubtful."""
    seen = [m.telemetry for t in study.trials if (m := t.measurement) is not None and m.telemetry is not None]
    notes = []
    throttled = [each.throttle_reasons for each in seen if each.throttle_reasons]
    if throttled:
        reasons = ", ".join(sorted({reason for reasons in throttled for reason in reasons}))
        notes.append(f"the GPU held its clock down after {len(throttled)} of {len(seen)} trials: {reasons}")
    shared = [each.other_processes_bytes or 0 for each in seen if each.num_other_processes]
    if shared:
        held = f"; they held up to {format_bytes(max(shared))}" if max(shared) else ""
        notes.append(f"others computed on the GPU during {len(shared)} of {len(seen)} trials{held}")
    return notes


@dataclass(frozen=True)
class Standing:
    """What the race has said of the contenders, and what it would take to say more."""

    verdict: Verdict | None = None
    """None where no contender ran beside the user's own."""
    is_search_over: bool = True
    """Nothing is left that is likely enough to be worth a trial."""
    needs: str | None = None
    """What it would take to decide."""
    untold: Candidate | None = None
    """The best contender that only its loss speaks against, which there was no time to tell, or only a full disk."""
    needs_disk: bool = False
    """It was the disk."""


def recommend(
    study: Study,
    verified: Verified | None,
    ranking: Sequence[Candidate],
    rejected: Sequence[Rejection],
    standing: Standing | None = None,
) -> Recommendation:
    """The answer.

    Args:
        study: with all trials.
        verified: the contender that passed; None when none did.
        ranking: contenders that are better, best first, and the user's own.
        rejected: what the checks turned down.
        standing: of the race; None for the best so far of an unfinished study, which no comparison has proved.

    Raises:
        NoCandidateError: the user's own arguments do not run here, and nothing else passed.
    """
    base = study.space.base
    decision = _decision(study, verified, ranking, standing)
    chosen = verified.candidate if verified and decision is Decision.TUNED else base
    final = verified.final if verified and verified.candidate == chosen else None
    after = _summary(study, chosen)
    if after is None:
        raise nothing_passed(study, rejected)
    before = _summary(study, base) or after
    attention = _needed(study, chosen, ATTENTION)
    eval_batch = best_eval_batch(study, chosen)
    arguments = emitted_arguments(study, chosen)
    if eval_batch is not None:
        arguments[EVAL_BATCH] = eval_batch
    verdict = standing.verdict if standing else None
    best = _candidate(study, verdict.best) if verdict and verdict.best else None
    if standing and standing.untold and decision is Decision.NOT_DECIDED:
        best = standing.untold
    compared = chosen if chosen != base else best
    better = chance_better(study, compared, base) if compared else None
    num_rivals = max(1, len(verdict.pairs)) if verdict and compared == best else 1
    return Recommendation(
        decision=decision,
        candidate=chosen,
        arguments=arguments,
        attn_implementation=None if attention is None else str(attention),
        environment=environment(chosen) if _needed(study, chosen, CUDA_ALLOCATOR) is not None else {},
        lines=tuned_lines(study, chosen),
        before=before,
        after=after,
        comparison=compare(study, compared, base, among=num_rivals) if compared else None,
        loss_check=verified.loss_check if verified else None,
        final_trial=final.number if final else None,
        headroom_bytes=study.space.memory_limit_bytes - _peak_bytes(final, after),
        runners_up=tuple(candidate for candidate in ranking if candidate != chosen)[:3],
        rejected=rejections(study, chosen, rejected),
        eval_batch_size=eval_batch,
        notes=_notes(study, verified),
        chance_better=better,
        best_so_far=best if decision is Decision.NOT_DECIDED and (better is None or better >= LIKELY) else None,
        needs=standing.needs if standing and decision is Decision.NOT_DECIDED else None,
        needs_disk=standing.needs_disk if standing and decision is Decision.NOT_DECIDED else False,
    )


def _peak_bytes(final: Trial | None, after: Summary) -> int:
    """Of the run that needed most."""
    final_bytes = final.measurement.memory.peak_bytes if final and final.measurement else 0
    return max(final_bytes, after.peak_memory_bytes)


def _decision(
    study: Study, verified: Verified | None, ranking: Sequence[Candidate], standing: Standing | None
) -> Decision:
    """Tuned: it ran, was better and passed. Keep yours: nothing is better, found and not for want of time."""
    base = study.space.base
    if verified is not None and verified.candidate != base:
        return Decision.TUNED
    if standing is not None and standing.untold is not None:
        return Decision.NOT_DECIDED
    was_rejected = any(candidate != base for candidate in ranking)
    if standing is None or was_rejected:
        return Decision.KEEP_YOURS
    is_open = standing.verdict is not None and standing.verdict.answer is Answer.NOT_DECIDED
    return Decision.KEEP_YOURS if standing.is_search_over and not is_open else Decision.NOT_DECIDED


def _candidate(study: Study, key: str) -> Candidate | None:
    return next((trial.candidate for trial in study.trials if trial.candidate.key == key), None)
