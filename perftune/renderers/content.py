"""A study to the words and tables that every renderer shows, without any markup."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from perftune.records.base import Setting
from perftune.records.candidate import Candidate
from perftune.records.recommendation import Decision, Interval, Recommendation
from perftune.records.study import Study
from perftune.records.summary import samples_per_second
from perftune.records.trial import Outcome, Trial
from perftune.units import format_bytes, format_percent, format_rate, format_ratio, format_seconds

NONE = "–"
MAX_REJECTED_SHOWN = 10


class Table(NamedTuple):
    """Rows of text under a heading."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def changes(candidate: Candidate, base: Candidate) -> str:
    """What a candidate changes of the user's own arguments."""
    changed = [f"{knob}={value}" for knob, value in candidate.settings.items() if base.settings.get(knob) != value]
    return ", ".join(changed) or "your own arguments"


def headline(study: Study) -> str:
    """The answer in one sentence."""
    answer = recommendation(study)
    if answer.decision is Decision.KEEP_YOURS:
        return "Keep your own arguments: nothing that was measured is faster by more than the noise and what matters."
    if answer.comparison is None:
        return "Your own arguments do not run within the limit; these do."
    ratio = answer.comparison.ratio
    what = "as little memory" if study.probe.objective.value == "peak_memory" else "as fast"
    return (
        f"{format_ratio(ratio.value)} {what} as your own arguments "
        f"({ratio.low:.2f} to {ratio.high:.2f}, 95 % interval of {answer.comparison.num_pairs} paired runs)."
    )


def recommendation(study: Study) -> Recommendation:
    """The answer of a finished study.

    Raises:
        ValueError: there is none yet.
    """
    if study.recommendation is None:
        raise ValueError("the study has no recommendation yet; run the same probe command to finish it")
    return study.recommendation


def before_and_after(study: Study) -> Table:
    """The figures of the user's own arguments and of the recommended ones."""
    answer = recommendation(study)
    before, after = answer.before, answer.after
    rows = [
        ("samples/s", _rate(before.samples_per_second), _rate(after.samples_per_second)),
        ("tokens/s, no padding", _rate(before.tokens_per_second), _rate(after.tokens_per_second)),
        ("optimizer step", format_seconds(before.step_seconds), format_seconds(after.step_seconds)),
        ("peak memory, worst batch", format_bytes(before.peak_memory_bytes), format_bytes(after.peak_memory_bytes)),
    ]
    if before.cost_per_million_samples is not None and after.cost_per_million_samples is not None:
        costs = (f"{before.cost_per_million_samples:.2f}", f"{after.cost_per_million_samples:.2f}")
        rows.append(("cost per million samples", *costs))
    shown = tuple(row for row in rows if row[1:] != (NONE, NONE))
    return Table("Before and after", ("", "yours", "recommended"), shown)


def _rate(value: float | None) -> str:
    return NONE if value is None else format_rate(value, "").removesuffix("/s").strip()


def interval_text(interval: Interval | None) -> str:
    """``1.53× (1.49 – 1.58)``."""
    return NONE if interval is None else f"{format_ratio(interval.value)} ({interval.low:.2f} – {interval.high:.2f})"


def tuned_lines(study: Study) -> Table:
    """Each tuned argument with its measured effect."""
    rows = tuple(
        (line.field, _setting(line.user_value), _setting(line.value), interval_text(line.speedup), line.reason)
        for line in recommendation(study).lines
    )
    return Table("What was tuned, and what each line does", ("argument", "yours", "now", "speed", "reason"), rows)


def _setting(value: Setting) -> str:
    return NONE if value is None else str(value)


def rejected(study: Study) -> Table:
    """What was not chosen and why; the most telling first."""
    found = recommendation(study).rejected
    rows = tuple(
        (item.what, item.reason if item.trial is None else f"{item.reason} (trial {item.trial})") for item in found
    )
    title = "Not chosen"
    if len(rows) > MAX_REJECTED_SHOWN:
        title += f" ({MAX_REJECTED_SHOWN} of {len(rows)}; all in study.json)"
    return Table(title, ("what", "why"), rows[:MAX_REJECTED_SHOWN])


def facts(study: Study) -> list[tuple[str, str]]:
    """What the answer rests on, as pairs of words."""
    answer, survey = recommendation(study), study.survey
    found = [
        ("device", f"{study.space.num_devices} × {survey.device.name} ({survey.device.kind})"),
        ("workload", f"{survey.trainer_class.rpartition('.')[2]} of {survey.model_class}, {_parameters(study)}"),
        ("global batch", _global_batch(study, answer.candidate)),
        ("worst batch", _worst(study)),
        ("memory", _memory(study, answer)),
        ("loss", _loss(answer)),
        ("trials", _trials(study.trials)),
    ]
    if answer.attn_implementation is not None:
        said = f'set attn_implementation="{answer.attn_implementation}" when the model is loaded; it is no argument'
        found.append(("attention", said))
    found += [("environment", f"export {name}={value}") for name, value in answer.environment.items()]
    return found + [("note", note) for note in answer.notes]


def _parameters(study: Study) -> str:
    survey = study.survey
    if survey.num_parameters == survey.num_trainable_parameters:
        return f"{survey.num_parameters / 1e6:,.1f} M parameters"
    return f"{survey.num_trainable_parameters / 1e6:,.2f} of {survey.num_parameters / 1e6:,.1f} M parameters train"


def _global_batch(study: Study, candidate: Candidate) -> str:
    space = study.space
    steps = space.global_batch_size // (candidate.micro_batch * space.num_devices)
    return f"{space.global_batch_size} = {candidate.micro_batch} × {steps} accumulation × {space.num_devices} devices"


def _worst(study: Study) -> str:
    worst = study.survey.worst_samples
    if not worst:
        return "not found; peaks are those of the measured batches"
    tokens = f", {worst[0].num_tokens} tokens" if worst[0].num_tokens else ""
    scanned = f"{study.survey.num_samples_scanned:,}"
    return f"sample #{worst[0].index}{tokens} is the heaviest of {scanned} after the collator"


def _memory(study: Study, answer: Recommendation) -> str:
    limit = study.space.memory_limit_bytes
    free = f"{format_bytes(answer.headroom_bytes)} of {format_bytes(limit)} stay free"
    if answer.final_trial is None:
        return f"{free} at the worst batch (no final run)"
    return f"{free} with worst batch, evaluation and one checkpoint (trial {answer.final_trial}, a fresh process)"


def _loss(answer: Recommendation) -> str:
    check = answer.loss_check
    if check is None:
        return "not compared: the arguments are your own" if answer.decision is Decision.KEEP_YOURS else "not compared"
    difference = check.relative_difference
    verdict = "follows" if check.passed else "does not follow"
    return (
        f"{verdict} the reference over {check.num_steps} steps: {format_percent(difference.value)} "
        f"({format_percent(difference.low)} to {format_percent(difference.high)}), tolerance {check.tolerance:.1%}"
    )


def _trials(trials: Sequence[Trial]) -> str:
    counts = Counter(trial.outcome.value for trial in trials)
    seconds = sum(trial.wall_seconds for trial in trials)
    said = ", ".join(f"{number} {outcome}" for outcome, number in counts.most_common())
    return f"{len(trials)} in {format_seconds(seconds)}: {said}"


def trial_table(study: Study) -> Table:
    """Every trial of the study."""
    rows = tuple(trial_row(study, trial) for trial in study.trials)
    return Table("Trials", ("#", "for", "outcome", "samples/s", "peak memory", "changes"), rows)


def trial_row(study: Study, trial: Trial) -> tuple[str, ...]:
    """One trial in words."""
    measurement = trial.measurement
    rate, peak = NONE, NONE
    if measurement is not None:
        rate, peak = _rate(samples_per_second(measurement)), format_bytes(measurement.memory.peak_bytes)
    what = changes(trial.candidate, study.space.base)
    if trial.failure is not None and trial.outcome is not Outcome.COMPLETED:
        what += f" — {trial.failure.message[:160]}"
    return str(trial.number), trial.purpose.value, trial.outcome.value, rate, peak, what


def how_to_use(path: str = "training_args.yaml") -> str:
    """The lines that train with the result."""
    return (
        "from transformers import HfArgumentParser, TrainingArguments\n"
        f"args, = HfArgumentParser(TrainingArguments).parse_yaml_file({path!r})"
    )
