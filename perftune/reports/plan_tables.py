"""Estimates of a plan to tables: the fastest candidates of a GPU, the best of each GPU, the largest micro-batches."""

from collections.abc import Iterable, Sequence

from perftune.records.candidate import ATTENTION, CHECKPOINTING, MICRO_BATCH, Candidate
from perftune.records.estimate import Estimate, Plan
from perftune.records.gpu import Gpu
from perftune.reports.document import Cell, Column, Kind, Table
from perftune.reports.words import MISSING, bytes_cell, cells, clean, cost_cell, rate_cell, seconds_cell, value

SHORT = {CHECKPOINTING: "checkpointing", ATTENTION: "attention"}
"""Knobs whose names are wider than their values."""


def fastest(estimates: Iterable[Estimate]) -> list[Estimate]:
    """Those that fit, fastest first."""
    fitting = [estimate for estimate in estimates if estimate.fits]
    return sorted(fitting, key=lambda e: (-_speed(e), e.memory.allocated_bytes))


def own_estimate(plan: Plan) -> Estimate | None:
    """Of the user's own settings, where they were estimated."""
    return next((estimate for estimate in plan.estimates if estimate.candidate == plan.base), None)


def one_gpu(plan: Plan, num_rows: int) -> Table:
    """The fastest candidates that fit, and the user's own."""
    ranked, yours = fastest(plan.estimates), own_estimate(plan)
    shown = [*ranked[:num_rows], *([yours] if yours and yours not in ranked[:num_rows] else [])]
    knobs = _varied(estimate.candidate for estimate in shown)
    rows = [
        (
            Cell(_batches(plan, estimate.candidate) + (" (yours)" if estimate is yours else "")),
            *_settings(estimate.candidate, knobs),
            *_figures(estimate),
        )
        for estimate in shown
    ]
    return Table(_columns(["batch × steps", *_named(knobs)], ["peak", "fits", "samples/s", "step", "MFU"]), tuple(rows))


def every_gpu(plan: Plan) -> Table:
    """The fastest candidate that fits on each GPU, fastest first."""
    priced = any(estimate.cost_per_million_samples is not None for estimate in plan.estimates)
    ranked = [(gpu, fastest(e for e in plan.estimates if e.gpu == gpu.name)) for gpu in plan.gpus]
    knobs = _varied(estimates[0].candidate for _, estimates in ranked if estimates)
    numbers = ["peak", "of", "samples/s", "MFU", *(["cost / 1M samples"] if priced else [])]
    rows = [
        _best(plan, gpu, estimates, knobs) + ((_cost(estimates),) if priced else ())
        for gpu, estimates in sorted(ranked, key=lambda row: -_speed(row[1][0]) if row[1] else 0.0)
    ]
    return Table(_columns(["GPU", "batch × steps", *_named(knobs)], numbers), tuple(rows))


def _best(plan: Plan, gpu: Gpu, ranked: Sequence[Estimate], knobs: Sequence[str]) -> tuple[Cell, ...]:
    memory = bytes_cell(gpu.memory_bytes)
    if not ranked:
        return (*cells(gpu.name, "nothing fits", *("" for _ in knobs), ""), memory, *cells("", ""))
    best = ranked[0]
    peak, _, rate, _, mfu = _figures(best)
    named = cells(gpu.name, _batches(plan, best.candidate))
    return (*named, *_settings(best.candidate, knobs), peak, memory, rate, mfu)


def _cost(ranked: Sequence[Estimate]) -> Cell:
    return cost_cell(ranked[0].cost_per_million_samples) if ranked else Cell("")


def largest_batches(plan: Plan, gpu: Gpu) -> Table:
    """The largest micro-batch that fits, for each combination of the other knobs."""
    mine = [largest for largest in plan.largest if largest.gpu == gpu.name]
    knobs = _varied(largest.candidate for largest in mine)
    rows = [
        (
            *_settings(largest.candidate, knobs),
            Cell("none") if largest.micro_batch is None else Cell(f"{largest.micro_batch:,}", largest.micro_batch),
            bytes_cell(largest.memory.device_bytes),
        )
        for largest in sorted(mine, key=lambda one: -(one.micro_batch or 0))
    ]
    return Table(_columns(_named(knobs), ["largest micro-batch", "peak there"]), tuple(rows))


def _speed(estimate: Estimate) -> float:
    return estimate.time.samples_per_second if estimate.time else 0.0


def _varied(candidates: Iterable[Candidate]) -> list[str]:
    """Knobs that have more than one value in what is shown, the micro-batch aside."""
    seen: dict[str, set[str]] = {}
    for candidate in candidates:
        for name, setting in candidate.settings.items():
            seen.setdefault(name, set()).add(str(setting))
    return [name for name, values in seen.items() if name != MICRO_BATCH and len(values) > 1]


def _named(knobs: Iterable[str]) -> list[str]:
    return [SHORT.get(knob, clean(knob)) for knob in knobs]


def _columns(names: Sequence[str], numbers: Sequence[str]) -> tuple[Column, ...]:
    return (*(Column(name, Kind.NAME) for name in names), *(Column(name, Kind.NUMBER) for name in numbers))


def _settings(candidate: Candidate, knobs: Sequence[str]) -> tuple[Cell, ...]:
    return cells(*(value(candidate.settings.get(knob)) for knob in knobs))


def _batches(plan: Plan, candidate: Candidate) -> str:
    steps = plan.global_batch_size // (candidate.micro_batch * plan.num_devices)
    return f"{candidate.micro_batch} × {steps}"


def _figures(estimate: Estimate) -> tuple[Cell, Cell, Cell, Cell, Cell]:
    """Peak, whether it fits, samples per second, seconds of a step, MFU."""
    peak, time = bytes_cell(estimate.memory.device_bytes), estimate.time
    fits = Cell("yes" if estimate.fits else "no")
    if time is None:
        return peak, fits, Cell(MISSING), Cell(MISSING), Cell(MISSING)
    mfu = Cell(MISSING) if time.mfu is None else Cell(f"{time.mfu:.0%}", time.mfu)
    rate = rate_cell(time.samples_per_second, " *" if time.is_host_bound else "")
    return peak, fits, rate, seconds_cell(time.step_seconds), mfu
