"""A probe and GPUs that are not here to a plan: traces on this machine's CPU, then an estimate of every candidate."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from perftune.errors import NoCandidateError, ProbeFileError, WorkloadError
from perftune.plan import Setup, Variant, estimate
from perftune.plan.tapes import DifferentTapesError
from perftune.planning.largest_batch import largest_batches
from perftune.planning.trace_cache import TraceCache
from perftune.planning.traces import TracingRunner, VariantTracer, tracing_runner
from perftune.planning.variants import EAGER, KNOBS, SDPA, VariantKey, variant_key
from perftune.records.candidate import (
    ATTENTION,
    CHECKPOINTING,
    MICRO_BATCH,
    OPTIMIZER,
    PRECISION,
    Candidate,
    Space,
)
from perftune.records.device import Device
from perftune.records.estimate import Estimate, LargestBatch, Plan
from perftune.records.gpu import Gpu
from perftune.records.probe import ProbeSpec
from perftune.records.survey import Survey, SurveyRequest
from perftune.search import build_space
from perftune.spec import workload_source

STAY = (MICRO_BATCH, OPTIMIZER, CHECKPOINTING)
"""Knobs that the GPU has no say in: why not, as the survey says it."""


class PlanningRunner(TracingRunner, Protocol):
    """What a plan needs of a runner."""

    def survey(self, request: SurveyRequest) -> Survey:
        """Look at the workload."""


RunnerFactory = Callable[[Path], AbstractContextManager[PlanningRunner]]


def plan(
    probe: ProbeSpec,
    gpus: Sequence[Gpu],
    *,
    num_devices: int | None = None,
    sharding: str | None = None,
    prices: Mapping[str, float] | None = None,
    max_batch: bool = False,
    on_phase: Callable[[str], None] = lambda _: None,
    runner: RunnerFactory = tracing_runner,
    cache: TraceCache | None = None,
) -> Plan:
    """Predict every candidate of a probe on every GPU.

    Args:
        probe: its target is not looked at, but for the headroom and the count.
        gpus: rows of the catalogue.
        num_devices: GPUs of one kind that train together; the probe's ``target.count`` by default.
        sharding: a name of ``perftune.plan.sharding.SHARDINGS``; by default ``ddp`` for several.
        prices: by name of the GPU, an hour.
        max_batch: also look for the largest micro-batch of each combination of the other knobs.
        on_phase: is told what begins.
        runner: makes what traces, from a folder.
        cache: of traces that other runs have made; None neither reads nor keeps any.

    Raises:
        WorkloadError: the workload cannot be built or traced.
        ProbeFileError: of a knob that the probe names, no value can be used; or the GPUs cannot share the global batch.
        NoCandidateError: nothing could be estimated.
    """
    count = num_devices or probe.target.count
    _refuse_if_unequal(probe, count)
    probe = probe.model_copy(update={"target": probe.target.model_copy(update={"count": count, "memory_bytes": None})})
    began = time.monotonic()
    with TemporaryDirectory(prefix="perftune-plan-") as folder, runner(Path(folder)) as running:
        on_phase("building the workload without weights, reading its data")
        survey = running.survey(_survey_request(probe))
        spaces = {gpu.name: build_space(probe, survey_for(survey, gpu)) for gpu in gpus}
        variants = _trace_all(probe, survey, gpus, spaces, running, cache, on_phase)
    found = _Found(trace_seconds=time.monotonic() - began, notes=dict.fromkeys(survey.notes))
    for gpu in gpus:
        setup = Setup(
            global_batch_size=probe.global_batch_size,
            num_devices=count,
            sharding=sharding or ("ddp" if count > 1 else "none"),
            headroom=probe.target.headroom,
            num_tokens_by_percent=survey.num_tokens_by_percent,
            mean_num_tokens=survey.mean_num_tokens,
            price_per_hour=(prices or {}).get(gpu.name),
        )
        on_phase(f"{gpu.title}: {spaces[gpu.name].num_candidates} candidates")
        found.estimates += _estimate_all(variants, gpu, spaces[gpu.name], setup, found.notes)
        if max_batch:
            found.largest += largest_batches(variants, gpu, spaces[gpu.name], setup)
    if not found.estimates:
        raise NoCandidateError(f"nothing could be estimated: {'; '.join(found.notes) or 'no candidate was traced'}")
    return _plan(probe, gpus, survey, setup, next(iter(spaces.values())).base, found)


def _refuse_if_unequal(probe: ProbeSpec, count: int) -> None:
    if probe.global_batch_size % count:
        possible = [str(n) for n in range(1, probe.global_batch_size + 1) if probe.global_batch_size % n == 0]
        raise ProbeFileError(
            f"{probe.source_path}: global_batch_size: {probe.global_batch_size} samples cannot be shared equally by "
            f"{count} GPUs. Possible counts: {', '.join(possible[:12])}"
        )


@dataclass
class _Found:
    trace_seconds: float
    notes: dict[str, None]
    estimates: list[Estimate] = field(default_factory=list)
    largest: list[LargestBatch] = field(default_factory=list)


def _plan(probe: ProbeSpec, gpus: Sequence[Gpu], survey: Survey, setup: Setup, base: Candidate, found: _Found) -> Plan:
    return Plan(
        name=probe.name,
        gpus=tuple(gpus),
        num_devices=setup.num_devices,
        sharding=setup.sharding,
        global_batch_size=probe.global_batch_size,
        headroom=probe.target.headroom,
        base=base,
        model_class=survey.model_class,
        num_parameters=survey.num_parameters,
        num_trainable_parameters=survey.num_trainable_parameters,
        num_tokens=survey.worst_samples[0].num_tokens if survey.worst_samples else 0,
        mean_num_tokens=survey.mean_num_tokens,
        estimates=tuple(found.estimates),
        largest=tuple(found.largest),
        notes=tuple(found.notes),
        trace_seconds=found.trace_seconds,
    )


def _survey_request(probe: ProbeSpec) -> SurveyRequest:
    return SurveyRequest(
        workload=workload_source(probe),
        arguments=probe.training_arguments,
        global_batch_size=probe.global_batch_size,
        device="cpu",
        num_devices=probe.target.count,
        knobs=probe.knobs,
        weightless=True,
    )


def survey_for(survey: Survey, gpu: Gpu) -> Survey:
    """What the survey would have found on the GPU: the knobs that a plan predicts, with the values that it has."""
    precisions = [name for name in ("fp32", "tf32", "bf16", "fp16") if gpu.peak(name)]
    own = survey.base.get(ATTENTION)
    attentions = [name for name in survey.supported.get(ATTENTION, ()) if name == SDPA or (name == EAGER == own)]
    supported = {name: values for name, values in survey.supported.items() if name in KNOBS}
    supported |= {PRECISION: tuple(precisions), ATTENTION: tuple(attentions)}
    refused = {
        f"{value}": f"{gpu.title} has no {value}" for value in ("tf32", "bf16", "fp16") if value not in precisions
    }
    device = Device(
        kind="cuda",
        name=gpu.title,
        memory_bytes=gpu.memory_bytes,
        compute_capability=gpu.compute_capability,
    )
    base = {name: value for name, value in survey.base.items() if name in KNOBS}
    unsupported = {name: survey.unsupported[name] for name in STAY if name in survey.unsupported}
    return survey.model_copy(
        update={
            "supported": supported,
            "unsupported": {**unsupported, PRECISION: refused},
            "base": base,
            "device": device,
        }
    )


def _trace_all(
    probe: ProbeSpec,
    survey: Survey,
    gpus: Sequence[Gpu],
    spaces: Mapping[str, Space],
    runner: TracingRunner,
    cache: TraceCache | None,
    on_phase: Callable[[str], None],
) -> dict[VariantKey, Variant | str]:
    """Every variant that a candidate needs; why not, where it cannot be traced."""
    wanted: dict[VariantKey, list[Candidate]] = {}
    for gpu in gpus:
        for candidate in spaces[gpu.name].candidates():
            wanted.setdefault(_key(candidate, spaces[gpu.name]), []).append(candidate)
    everyone = [candidate for members in wanted.values() for candidate in members]
    tracer = VariantTracer(probe, survey, "cuda", everyone, runner, cache)
    found: dict[VariantKey, Variant | str] = {}
    for number, (key, candidates) in enumerate(wanted.items()):
        on_phase(f"tracing {key.title} ({number + 1} of {len(wanted)})")
        try:
            found[key] = tracer.traced(key, candidates)
        except WorkloadError as error:
            found[key] = str(error)
    if all(isinstance(variant, str) for variant in found.values()):
        raise WorkloadError(next(str(variant) for variant in found.values()))
    return found


def _key(candidate: Candidate, space: Space) -> VariantKey:
    assert space.device is not None
    return variant_key(candidate, space.device)


def _optim(candidate: Candidate) -> str:
    return str(candidate.settings[OPTIMIZER])


def _estimate_all(
    variants: Mapping[VariantKey, Variant | str], gpu: Gpu, space: Space, setup: Setup, notes: dict[str, None]
) -> list[Estimate]:
    found = []
    for candidate in space.candidates():
        variant = variants[_key(candidate, space)]
        if isinstance(variant, str):
            notes[f"{_key(candidate, space).title}: {variant}"] = None
            continue
        try:
            found.append(estimate(variant, gpu, candidate, setup))
        except DifferentTapesError as error:
            notes[f"{_key(candidate, space).title}: {error}"] = None
        except KeyError:
            optim = _optim(candidate)
            reason = next((o.reason for o in variant.trace.optimizers if o.optim == optim), None)
            notes[f"{optim} could not be traced: {reason}"] = None
    return found
