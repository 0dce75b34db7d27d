"""Measurements to figures: steady steps, throughput, score. The one place where raw values become rates."""

from collections.abc import Sequence
from statistics import median

from perftune.records.probe import Objective
from perftune.records.recommendation import Interval, Summary
from perftune.records.trial import Measurement, Steps, Trial
from perftune.statistics import median_interval


def steady(measurement: Measurement) -> Steps:
    """The steps without warm-up and without short last batches of an epoch; all steps if none would be left."""
    steps = measurement.steps
    full = max(steps.num_samples, default=0)
    keep = [i for i in range(measurement.num_warmup_steps, len(steps)) if steps.num_samples[i] == full]
    if not keep:
        return steps
    return Steps(**{name: tuple(getattr(steps, name)[i] for i in keep) for name in Steps.model_fields})


def step_interval(measurement: Measurement) -> Interval:
    """Median seconds of a steady optimizer step."""
    value, low, high = median_interval(steady(measurement).step_seconds)
    return Interval(value=value, low=low, high=high)


def samples_per_second(measurement: Measurement) -> float:
    """Samples of one optimizer step over its median seconds."""
    steps = steady(measurement)
    return median(steps.num_samples) / median(steps.step_seconds)


def tokens_per_second(measurement: Measurement) -> float | None:
    """Tokens without padding: samples per second times the mean number of tokens of a sample."""
    steps = steady(measurement)
    num_tokens, num_samples = sum(steps.num_tokens), sum(steps.num_samples)
    return samples_per_second(measurement) * num_tokens / num_samples if num_tokens else None


def step_speedup(measurement: Measurement, reference: Measurement) -> float:
    """How many times faster than the reference, step by step.

    Both runs see the same samples in the same optimizer step (same seed, same global batch), so steps are compared
    by position, and differences in length between steps cancel. Without common steady steps the medians are compared.
    """
    first = max(measurement.num_warmup_steps, reference.num_warmup_steps)
    pairs = list(zip(reference.steps.step_seconds[first:], measurement.steps.step_seconds[first:], strict=False))
    if not pairs:
        return step_interval(reference).value / step_interval(measurement).value
    return median(slow / fast for slow, fast in pairs)


def score(trial: Trial, objective: Objective) -> float:
    """What the search maximises, of a completed trial: samples or tokens per second, or one over the peak bytes.

    Cost on so many devices of one kind is time, so its score is samples per second.

    Raises:
        ValueError: the trial did not complete, or has no tokens to count.
    """
    if trial.measurement is None:
        raise ValueError(f"trial {trial.number} {trial.outcome.value}")
    if objective is Objective.PEAK_MEMORY:
        return 1 / trial.measurement.memory.peak_bytes
    if objective is Objective.TOKENS_PER_SECOND:
        rate = tokens_per_second(trial.measurement)
        if rate is None:
            raise ValueError("the objective tokens_per_second needs inputs with tokens")
        return rate
    return samples_per_second(trial.measurement)


SAMPLING = "train_sampling_strategy"


def times_better(trial: Trial, reference: Trial, objective: Objective) -> float:
    """How many times better a completed trial is than another: step by step where both saw the same samples in each.

    Raises:
        ValueError: one of the two did not complete, or has no tokens to count.
    """
    same_batches = trial.candidate.settings.get(SAMPLING) == reference.candidate.settings.get(SAMPLING)
    if objective is not Objective.PEAK_MEMORY and same_batches and trial.measurement and reference.measurement:
        return step_speedup(trial.measurement, reference.measurement)
    return score(trial, objective) / score(reference, objective)


def summarize(trials: Sequence[Trial], price_per_hour: float | None = None, num_devices: int = 1) -> Summary:
    """The figures of one candidate: medians over its completed trials, and its largest peak.

    Args:
        trials: of the candidate.
        price_per_hour: of one device.
        num_devices: that train together; rates are of all of them, so all are paid for.

    Raises:
        ValueError: none completed.
    """
    measurements = [trial.measurement for trial in trials if trial.measurement is not None]
    if not measurements:
        raise ValueError("no completed trial")
    rate = median(samples_per_second(m) for m in measurements)
    tokens = [t for m in measurements if (t := tokens_per_second(m)) is not None]
    return Summary(
        samples_per_second=rate,
        tokens_per_second=median(tokens) if tokens else None,
        step_seconds=median(step_interval(m).value for m in measurements),
        peak_memory_bytes=max(m.memory.peak_bytes for m in measurements),
        cost_per_million_samples=num_devices * price_per_hour / 3600 / rate * 1e6 if price_per_hour else None,
    )
