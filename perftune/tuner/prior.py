"""A surveyed probe to its prior: traces on shapes, then what they say of every candidate's memory and speed."""

import time
from collections.abc import Callable, Mapping

from perftune.devices.catalogue import gpu_of, load_catalogue
from perftune.plan import Prediction, Setup, Variant, predict_on_cpu, predict_on_gpu
from perftune.plan.tapes import DifferentTapesError
from perftune.records.base import Setting
from perftune.records.candidate import Candidate, Knob, Space
from perftune.records.gpu import Gpu
from perftune.records.prior import Predicted, Prior
from perftune.records.probe import ProbeSpec
from perftune.records.survey import Survey
from perftune.tuner.traces import KNOBS, TracingRunner, VariantKey, trace_variants, variant_key

SHARE, MIN_SECONDS = 0.1, 60.0
"""Of the budget's minutes, and at least: variants that are not traced by then are left out."""


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
    notes: list[str] = []

    def may_begin(number: int, _: VariantKey) -> bool:
        if number and clock() - begun > most:
            notes.append(f"{len(groups) - number} of {len(groups)} variants were not traced: no time was left for them")
            return False
        return True

    found = trace_variants(probe, survey, groups, runner, survey.device.kind, may_begin)
    notes += [reason for reason in found.values() if isinstance(reason, str)]
    variants = {key: variant for key, variant in found.items() if isinstance(variant, Variant)}
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


def _by_variant(space: Space, knobs: tuple[str, ...]) -> dict[VariantKey, list[Candidate]]:
    """One candidate for each setting of the traced knobs, by the trace that it needs; the user's own variant first."""
    assert space.device is not None
    groups: dict[VariantKey, list[Candidate]] = {variant_key(space.base, space.device): []}
    held = tuple(k if k.name in knobs else Knob(name=k.name, values=k.values[:1]) for k in space.knobs)
    for candidate in space.model_copy(update={"knobs": held}).candidates():
        groups.setdefault(variant_key(candidate, space.device), []).append(candidate)
    return groups


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
