"""A study to the lines that say where its arguments come from and what the arguments cannot hold."""

import json
import shlex

from perftune.records.probe import Objective
from perftune.records.recommendation import Decision, PairedComparison, Recommendation
from perftune.records.study import Study
from perftune.reports.certainty import how_compared, other
from perftune.reports.loading import load_lines
from perftune.reports.verdict import verdict
from perftune.units import format_bytes, format_rate

PACKAGES = ("torch", "transformers", "accelerate", "bitsandbytes")


def provenance(study: Study, recommendation: Recommendation) -> list[str]:
    """What made the file, on what, and what it is worth."""
    return [
        *_verdict(study, recommendation),
        "",
        *_origin(study),
        _global_batch(study, recommendation),
        *_figures(study, recommendation),
        "",
        "Load it as it is:",
        *(f"    {line}" for line in load_lines(study.survey, '"training_args.yaml"')),
    ]


def outside_the_file(recommendation: Recommendation) -> list[str]:
    """What belongs to the answer and is no TrainingArguments field: what to write, and where."""
    found = []
    if recommendation.attn_implementation is not None:
        name = json.dumps(recommendation.attn_implementation)
        found += [
            "Also needed where the model is loaded (no TrainingArguments field):",
            f"    model = AutoModel...from_pretrained(..., attn_implementation={name})",
        ]
    if recommendation.environment:
        found.append("Also needed in the shell, before training starts (no TrainingArguments field):")
        found += [f"    export {name}={shlex.quote(value)}" for name, value in recommendation.environment.items()]
    return found


def _verdict(study: Study, recommendation: Recommendation) -> list[str]:
    if recommendation.decision is not Decision.TUNED:
        return [verdict(study), "These are your own TrainingArguments."]
    if recommendation.final_trial is None:
        return ["Best so far. It ran, but passed no final check: run the same command again to finish."]
    return [f"Fastest TrainingArguments that fit, measured by perftune ({study.probe.objective.value})."]


def _origin(study: Study) -> list[str]:
    device, versions = study.survey.device, study.survey.versions
    packages = [f"{name} {versions.packages[name]}" for name in PACKAGES if name in versions.packages]
    parts = [f"{device.count} x {device.name}" if device.count > 1 else device.name]
    parts += [f"{device.num_cores} cores"] if device.num_cores and device.kind == "cpu" else []
    parts += [f"driver {device.driver}"] if device.driver else []
    return [
        f"Made by: perftune {versions.perftune}, {study.created}",
        f"Probe: {study.probe.name}, sha256 {study.probe_sha256}",
        f"Device: {', '.join(parts)}",
        f"Software: {', '.join([f'python {versions.python}', *packages])}",
    ]


def _global_batch(study: Study, recommendation: Recommendation) -> str:
    space, micro = study.space, recommendation.candidate.micro_batch
    steps = space.global_batch_size // (micro * space.num_devices)
    return (
        f"Global batch: {micro} micro x {steps} accumulation x {space.num_devices} devices = {space.global_batch_size}"
    )


def _figures(study: Study, recommendation: Recommendation) -> list[str]:
    before, after = recommendation.before, recommendation.after
    rate = format_rate(after.samples_per_second, "samples")
    if recommendation.decision is Decision.TUNED:
        rate = f"{format_rate(before.samples_per_second, 'samples')} -> {rate}"
    found = [f"Throughput: {rate}"]
    if recommendation.comparison is not None:
        best_other = other(recommendation)
        who = f"Compared with yours, {best_other}" if best_other else "Compared with yours"
        found.append(f"{who}: {_comparison(recommendation.comparison, study.probe.objective)}")
    peak = study.space.memory_limit_bytes - recommendation.headroom_bytes
    found.append(
        f"Memory: {format_bytes(peak)} peak of {format_bytes(study.space.memory_limit_bytes)}, "
        f"{format_bytes(recommendation.headroom_bytes)} of headroom"
    )
    if recommendation.final_trial is not None:
        found.append(f"Checked by: trial {recommendation.final_trial}, a run in a fresh process")
    return found


def _comparison(comparison: PairedComparison, objective: Objective) -> str:
    ratio = comparison.ratio
    what = "less memory" if objective is Objective.PEAK_MEMORY else "the throughput"
    if ratio.high == float("inf"):
        return f"{ratio.value:.2f} times {what}, from one paired run, which gives no interval"
    within = f"({ratio.low:.2f} to {ratio.high:.2f}), {ratio.confidence * 100:.0f} % interval"
    return f"{ratio.value:.2f} times {what} {within}, {how_compared(comparison)}"
