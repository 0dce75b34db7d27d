"""A study to the sentences and cells that every renderer shows."""

import shlex

from perftune.records.base import Setting
from perftune.records.candidate import MICRO_BATCH, Candidate
from perftune.records.loading import load_lines
from perftune.records.prediction_error import absolute_errors, predicted_and_measured
from perftune.records.probe import Objective
from perftune.records.recommendation import Decision, Interval, Recommendation, Summary, TunedLine
from perftune.records.study import Study
from perftune.records.summary import samples_per_second, step_interval
from perftune.records.survey import WorstSample
from perftune.records.trial import Trial
from perftune.units import format_bytes, format_rate, format_seconds

MISSING = "–"
MAX_NAMED = 3
"""Rejected candidates that are named where several share a reason."""
MAX_CHARACTERS = 400


def recommended(study: Study) -> Recommendation:
    """The recommendation of a finished study.

    Raises:
        ValueError: there is none yet.
    """
    if study.recommendation is None:
        raise ValueError("the study has no recommendation yet")
    return study.recommendation


def clean(text: object) -> str:
    """Printable, on one line, of bounded length: what users and libraries call things cannot move a cursor."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return flat if len(flat) <= MAX_CHARACTERS else flat[: MAX_CHARACTERS - 1] + "…"


def value(setting: Setting) -> str:
    """A setting as YAML spells it."""
    if setting is None:
        return "not set"
    return str(setting).lower() if isinstance(setting, bool) else clean(setting)


def bytes_cell(num_bytes: float | None) -> str:
    """Bytes, or a dash."""
    return MISSING if num_bytes is None else format_bytes(num_bytes)


def signed_bytes(num_bytes: float | None) -> str:
    """A difference in bytes with its sign, or a dash."""
    if num_bytes is None:
        return MISSING
    return f"{'−' if num_bytes < 0 else '+'}{format_bytes(abs(num_bytes))}"


def interval(ratio: Interval | None) -> str:
    """``1.53× (1.49 to 1.57)``, without the interval where one run gave none, or a dash."""
    if ratio is None:
        return MISSING
    if ratio.high == float("inf"):
        return f"{ratio.value:.2f}× (one pair: no interval)"
    return f"{ratio.value:.2f}× ({ratio.low:.2f} to {ratio.high:.2f})"


def settings(candidate: Candidate, base: Candidate) -> str:
    """The micro-batch, and what else differs from the user's own."""
    changed = [
        f"{clean(name)}={value(setting)}"
        for name, setting in candidate.settings.items()
        if name != MICRO_BATCH and base.settings.get(name) != setting
    ]
    return ", ".join([f"micro-batch {candidate.micro_batch}", *changed]) + (" (yours)" if candidate == base else "")


def verdict(study: Study) -> str:
    """The answer in one sentence."""
    recommendation = recommended(study)
    if recommendation.decision is Decision.KEEP_YOURS:
        return "Keep yours: nothing that was measured is reliably better."
    what = {
        Objective.PEAK_MEMORY: "less memory at peak",
        Objective.TOKENS_PER_SECOND: "tokens per second",
    }.get(study.probe.objective, "samples per second")
    comparison = recommendation.comparison
    if comparison is None:
        return "Tuned: your own arguments do not run here, these do."
    return f"Tuned: {comparison.ratio.value:.2f}× {'' if what.startswith('less') else 'the '}{what}."


def _figures(summary: Summary) -> dict[str, str]:
    tokens, cost = summary.tokens_per_second, summary.cost_per_million_samples
    return {
        "samples/s": format_rate(summary.samples_per_second, "").removesuffix(" /s"),
        "tokens/s, no padding": MISSING if tokens is None else format_rate(tokens, "").removesuffix(" /s"),
        "time of a step": format_seconds(summary.step_seconds),
        "peak memory": format_bytes(summary.peak_memory_bytes),
        "cost of a million samples": MISSING if cost is None else f"{cost:,.2f}",
    }


def before_and_after(study: Study) -> list[tuple[str, str, str]]:
    """Name, before, after; cost only where the probe has a price."""
    recommendation = recommended(study)
    before, after = _figures(recommendation.before), _figures(recommendation.after)
    rows = [(name, before[name], after[name]) for name in before]
    return rows if study.probe.target.price_per_hour else rows[:-1]


def line_cells(line: TunedLine) -> tuple[str, str, str, str, str]:
    """Field, value, the user's value, effect on speed, effect on memory."""
    return (
        clean(line.field),
        value(line.value),
        value(line.user_value),
        interval(line.speedup),
        signed_bytes(line.memory_bytes),
    )


def certainty(study: Study) -> list[str]:
    """How sure the answer is, one sentence each."""
    recommendation = recommended(study)
    found = []
    comparison = recommendation.comparison
    if comparison is not None:
        ratio = comparison.ratio
        sure = "" if ratio.high == float("inf") else f", {ratio.confidence * 100:.0f} % interval"
        pairs = f"{comparison.num_pairs} paired run{'s' if comparison.num_pairs != 1 else ''}"
        who = "Against yours" if recommendation.decision is Decision.TUNED else "The best other candidate against yours"
        found.append(f"{who}: {interval(ratio)}{sure}, {pairs}.")
    elif recommendation.decision is Decision.TUNED:
        found.append("Against yours: nothing to compare, your own arguments gave no paired run.")
    if recommendation.loss_check is not None or recommendation.decision is Decision.TUNED:
        found.append(_loss(recommendation))
    found += _memory(study, recommendation)
    return found + _prediction(study)


def _prediction(study: Study) -> list[str]:
    """How far off the predictions were, where there were any."""
    compared = predicted_and_measured(study)
    if not compared:
        return []
    usual, most = absolute_errors([one.memory_error for one in compared])
    said = (
        f"peak memory {usual * 100:.0f} % off in the median of {len(compared)} candidates, at most {most * 100:.0f} %"
    )
    times = [error for one in compared if (error := one.time_error) is not None]
    if times:
        usual, most = absolute_errors(times)
        said += f"; time of a step {usual * 100:.0f} %, at most {most * 100:.0f} %"
    return [
        f"Prediction from shapes, before the first trial: {said}. Nothing rests on it: what is told here was measured."
    ]


def predicted_cells(study: Study) -> list[tuple[str, ...]]:
    """One row for each candidate that was predicted and measured; see `PREDICTED_HEADER`."""
    return [
        (
            settings(one.candidate, study.space.base),
            format_bytes(one.predicted_bytes),
            format_bytes(one.measured_bytes),
            _error(one.memory_error),
            MISSING if one.predicted_seconds is None else format_seconds(one.predicted_seconds),
            format_seconds(one.measured_seconds),
            _error(one.time_error),
        )
        for one in predicted_and_measured(study)
    ]


def _error(error: float | None) -> str:
    return MISSING if error is None else f"{error * 100:+.0f} %"


def _loss(recommendation: Recommendation) -> str:
    check = recommendation.loss_check
    if check is None:
        return "Loss: not compared."
    by = check.relative_difference
    follows = "follows the reference" if check.passed else "does not follow the reference"
    whose = "Loss" if recommendation.decision is Decision.TUNED else "Loss of the best other candidate"
    return (
        f"{whose}: {follows} over {check.num_steps} steps, {by.value * 100:+.2f} % ({by.low * 100:+.2f} to "
        f"{by.high * 100:+.2f} %), tolerance {check.tolerance * 100:.1f} %."
    )


def _memory(study: Study, recommendation: Recommendation) -> list[str]:
    limit_bytes, left_bytes = study.space.memory_limit_bytes, recommendation.headroom_bytes
    free = (
        f"Memory: {format_bytes(limit_bytes - left_bytes)} of {format_bytes(limit_bytes)}, "
        f"{format_bytes(left_bytes)} ({left_bytes / limit_bytes * 100:.0f} %) left"
    )
    final = next((trial for trial in study.trials if trial.number == recommendation.final_trial), None)
    if final is None or final.measurement is None:
        return [f"{free}. No final check was run."]
    peak = final.measurement.memory
    included = ["training"]
    included += ["the worst batch"] if final.measurement.worst_batch_ran else []
    included += ["evaluation"] if peak.evaluate_bytes is not None else []
    included += ["a checkpoint"] if peak.save_bytes is not None else []
    check = f"trial {final.number}, in a fresh process, with {_and(included)}"
    if peak.peak_bytes < limit_bytes - left_bytes:
        found = [f"{free}, in the run that needed most; {check}, needed {format_bytes(peak.peak_bytes)}."]
    else:
        found = [f"{free}; {check}."]
    if final.measurement.worst_batch_ran and study.survey.worst_samples:
        worst = study.survey.worst_samples[0]
        found.append(f"Worst batch: the heaviest is sample #{worst.index}{_weight(worst)}.")
    return found


def _weight(worst: WorstSample) -> str:
    if worst.num_tokens or worst.num_elements is None:
        return f", {worst.num_tokens:,} tokens"
    return f", {worst.num_elements:,} numbers in its tensors"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def rejected(study: Study) -> list[tuple[str, str]]:
    """What was not chosen, grouped by the reason, what was run first: (what, reason)."""
    groups: dict[str, list[str]] = {}
    for rejection in sorted(recommended(study).rejected, key=lambda one: one.trial is None):
        trial = "" if rejection.trial is None else f" (trial {rejection.trial})"
        what = clean(rejection.what)
        groups.setdefault(clean(rejection.reason).removeprefix(f"{what}: "), []).append(what + trial)
    return [(_some(list(dict.fromkeys(whats))), reason) for reason, whats in groups.items()]


def _some(whats: list[str]) -> str:
    more = len(whats) - MAX_NAMED
    return "; ".join(whats) if more <= 1 else f"{'; '.join(whats[:MAX_NAMED])}; and {more} more"


def notes(study: Study) -> list[str]:
    """What the user should know, cleaned."""
    return [clean(note) for note in recommended(study).notes]


def next_steps(study: Study, path: str) -> list[str]:
    """Lines of code and shell that put the answer to use."""
    recommendation = recommended(study)
    lines = [f"export {name}={shlex.quote(clean(text))}" for name, text in recommendation.environment.items()]
    lines += [clean(line) for line in load_lines(study.survey, repr(clean(path)))]
    if recommendation.attn_implementation is not None:
        name = clean(recommendation.attn_implementation)
        lines.append(f"model = AutoModel….from_pretrained(…, attn_implementation={name!r})")
    return lines


def place(study: Study) -> str:
    """Device and software in a line."""
    device, versions = study.survey.device, study.survey.versions
    packages = [f"{name} {versions.packages[name]}" for name in ("torch", "transformers") if name in versions.packages]
    cores = f", {device.num_cores} cores" if device.kind == "cpu" and device.num_cores else ""
    driver = f", driver {device.driver}" if device.driver else ""
    return clean(f"{device.name}{cores}{driver}, {', '.join(packages)}")


def trial_cells(study: Study, trial: Trial) -> tuple[str, ...]:
    """Number, purpose, settings, outcome, samples/s, step time, peak memory, cost."""
    measurement, failure = trial.measurement, trial.failure
    if measurement is not None:
        figures = (
            format_rate(samples_per_second(measurement), "").removesuffix(" /s"),
            format_seconds(step_interval(measurement).value),
            format_bytes(measurement.memory.peak_bytes),
        )
    else:
        figures = (MISSING, MISSING, bytes_cell(failure.peak_bytes if failure else None))
    said = trial.outcome.value.replace("_", " ") + (f": {clean(failure.message)}" if failure else "")
    return (
        str(trial.number),
        trial.purpose.value,
        settings(trial.candidate, study.space.base),
        said,
        *figures,
        format_seconds(trial.wall_seconds),
    )


TRIAL_HEADER = ("#", "purpose", "settings", "outcome", "samples/s", "step", "peak memory", "took")
PREDICTED_HEADER = (
    "settings", "predicted memory", "measured memory", "memory error", "predicted step", "measured step", "step error"
)  # fmt: skip
LINE_HEADER = ("argument", "value", "yours", "speed with it", "memory with it")
