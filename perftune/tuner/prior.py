"""A surveyed probe to its prior: traces on shapes, then what they say of every candidate's memory and speed."""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from perftune.devices.catalogue import gpu_of, load_catalogue
from perftune.errors import WorkloadError
from perftune.plan import Prediction, Setup, Variant, predict_on_cpu, predict_on_gpu
from perftune.plan.tapes import DifferentTapesError
from perftune.records.base import Setting
from perftune.records.candidate import CHECKPOINTING, OPTIMIZER, PRECISION, Candidate, Space
from perftune.records.gpu import Gpu
from perftune.records.prior import Predicted, Prior
from perftune.records.probe import ProbeSpec
from perftune.records.survey import Survey
from perftune.records.trace import Trace, TracedOptimizer, TraceRequest
from perftune.tuner.traces import EAGER, HALF, KNOBS, VariantKey, attention_of, flash_of, trace_request

SHARE, MIN_SECONDS = 0.1, 60.0
"""Of the budget's minutes, and at least: variants that are not traced by then are left out."""


class TracingRunner(Protocol):
    """What a prior needs of a runner."""

    def trace(self, request: TraceRequest, number: int) -> Trace:
        """Trace one variant."""


def trace_prior(
    probe: ProbeSpec,
    survey: Survey,
    space: Space,
    runner: TracingRunner,
    clock: Callable[[], float] = time.monotonic,
) -> Prior | str:
    """Predict every candidate of a space; the reason where nothing can be predicted.

    Args:
        probe: what trains.
        survey: of the device that is here.
        space: of the probe on it.
        runner: what traces.
        clock: seconds; a test passes its own.
    """
    begun, most = clock(), max(MIN_SECONDS, SHARE * probe.budget.minutes * 60)
    knobs = tuple(knob.name for knob in space.knobs if knob.name in KNOBS)
    groups = _by_variant(space, knobs)
    variants: dict[VariantKey, Variant] = {}
    notes: list[str] = []
    known: tuple[TracedOptimizer, ...] = ()
    for number, (key, candidates) in enumerate(groups.items()):
        if variants and clock() - begun > most:
            notes.append(f"{len(groups) - number} of {len(groups)} variants were not traced: no time was left for them")
            break
        request = trace_request(probe, survey, key, candidates)
        optimizers = () if known else _optimizers(space)
        update = {"optimizers": optimizers, "semantics": survey.device.kind}
        try:
            trace = runner.trace(request.model_copy(update=update), number)
        except WorkloadError as error:
            notes.append(str(error))
            continue
        known = known or trace.optimizers
        variants[key] = Variant(trace.model_copy(update={"optimizers": known}))
    predicted = _predict_all(probe, survey, groups, variants, knobs)
    if not predicted:
        return notes[0] if notes else "no candidate could be predicted"
    return Prior(
        knobs=knobs,
        predicted=tuple(predicted),
        runs_ahead=survey.device.kind == "cuda",
        has_rates=bool(survey.flops_per_second) or survey.device.kind == "cuda",
        seconds=clock() - begun,
        notes=tuple(notes),
    )


def _optimizers(space: Space) -> tuple[str, ...]:
    return next((tuple(str(value) for value in knob.values) for knob in space.knobs if knob.name == OPTIMIZER), ())


def _by_variant(space: Space, knobs: tuple[str, ...]) -> dict[VariantKey, list[Candidate]]:
    """One candidate for each setting of the traced knobs, by the trace that it needs; the user's own variant first."""
    groups: dict[VariantKey, list[Candidate]] = {variant_key(space.base, space): []}
    seen = set()
    for candidate in space.candidates():
        settings = tuple(candidate.settings[name] for name in knobs)
        if settings not in seen:
            seen.add(settings)
            groups.setdefault(variant_key(candidate, space), []).append(candidate)
    return groups


def variant_key(candidate: Candidate, space: Space) -> VariantKey:
    """Candidates with the same key share a trace. The CPU has one half precision, and no flash kernel of its own."""
    assert space.device is not None
    precision = candidate.settings.get(PRECISION)
    attention = attention_of(candidate)
    on_cuda = space.device.kind == "cuda"
    return VariantKey(
        is_half=precision in HALF if on_cuda else precision == "bf16",
        checkpointing=candidate.settings.get(CHECKPOINTING) is True,
        attention=attention,
        has_flash=on_cuda and flash_of(space.device.compute_capability) and attention != EAGER,
    )


def _predict_all(
    probe: ProbeSpec,
    survey: Survey,
    groups: Mapping[VariantKey, list[Candidate]],
    variants: Mapping[VariantKey, Variant],
    knobs: tuple[str, ...],
) -> list[Predicted]:
    setup = Setup(
        global_batch_size=probe.global_batch_size,
        num_devices=probe.target.count,
        sharding="ddp" if probe.target.count > 1 else "none",
        num_tokens_by_percent=survey.num_tokens_by_percent,
        mean_num_tokens=survey.mean_num_tokens,
    )
    gpu = gpu_of(survey.device, load_catalogue()) if survey.device.kind == "cuda" else None
    found = []
    for key, variant in variants.items():
        for candidate in groups[key]:
            prediction = _predict(variant, candidate, setup, survey, gpu)
            if prediction is not None:
                settings: dict[str, Setting] = {name: candidate.settings[name] for name in knobs}
                found.append(Predicted(settings=settings, **prediction._asdict()))
    return found


def _predict(
    variant: Variant, candidate: Candidate, setup: Setup, survey: Survey, gpu: Gpu | None
) -> Prediction | None:
    try:
        if survey.device.kind == "cpu":
            return predict_on_cpu(variant, candidate, setup, survey.flops_per_second)
        return predict_on_gpu(variant, gpu, candidate, setup)
    except (DifferentTapesError, KeyError):
        return None
