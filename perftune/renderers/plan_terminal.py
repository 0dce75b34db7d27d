"""A plan to what a terminal shows: the fastest candidates of a GPU, the best of each, or the largest micro-batches."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from perftune.records.candidate import ATTENTION, CHECKPOINTING, MICRO_BATCH, Candidate
from perftune.records.estimate import Estimate, MemoryEstimate, Plan, TimeEstimate
from perftune.records.gpu import Gpu
from perftune.renderers.blocks import bullet, heading
from perftune.renderers.text import clean, value
from perftune.units import format_bytes, format_rate, format_seconds

NUM_ROWS = 10
COVERED, UNCOVERED = "in nine of ten published measurements", ", which no published measurement covers"
SHORT = {CHECKPOINTING: "checkpointing", ATTENTION: "attention"}
"""Knobs whose names are wider than their values."""
PART_NAMES = {
    "parameters": "parameters", "buffers": "buffers", "gradients": "gradients", "optimizer_state": "optimizer state",
    "activations": "activations", "temporaries": "temporaries", "optimizer_temporaries": "temporaries of the optimizer",
    "workspaces": "workspaces of libraries",
    "fragmentation": "reserved, not in use", "context": "CUDA context",
}  # fmt: skip


def summary(plan: Plan, *, num_rows: int = NUM_ROWS) -> RenderableType:
    """Everything that was asked, most wanted first."""
    parts: list[RenderableType] = [Text(), Text(_title(plan), "bold"), Text(_data(plan), "dim")]
    if plan.largest:
        parts += [block for gpu in plan.gpus for block in _largest_block(plan, gpu)]
    elif len(plan.gpus) == 1:
        parts += _one_gpu(plan, plan.gpus[0], num_rows)
    else:
        parts += _all_gpus(plan)
    parts += [heading("How sure this is"), *(bullet(line) for line in _certainty(plan))]
    if plan.notes:
        parts += [heading("Notes"), *(bullet(clean(note)) for note in plan.notes)]
    return Group(*parts)


def _title(plan: Plan) -> str:
    trainable = (
        ""
        if plan.num_trainable_parameters == plan.num_parameters
        else f", {plan.num_trainable_parameters:,} of them trained"
    )
    return f"{clean(plan.name)}: {clean(plan.model_class)}, {plan.num_parameters:,} parameters{trainable}"


def _data(plan: Plan) -> str:
    devices = f"{plan.num_devices} GPUs, {plan.sharding}" if plan.num_devices > 1 else "one GPU"
    tokens = ""
    if plan.num_tokens:
        mean = "" if plan.mean_num_tokens is None else f", {plan.mean_num_tokens:,.0f} on average"
        tokens = f"; the longest sample has {plan.num_tokens:,} tokens{mean}"
    return f"Predicted for {devices}, global batch {plan.global_batch_size}{tokens}. Nothing was measured."


def fastest(estimates: Iterable[Estimate]) -> list[Estimate]:
    """Those that fit, fastest first."""
    fitting = [estimate for estimate in estimates if estimate.fits]
    return sorted(fitting, key=lambda e: (-_speed(e), e.memory.allocated_bytes))


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
    return [SHORT.get(knob, knob) for knob in knobs]


def _batches(plan: Plan, candidate: Candidate) -> str:
    steps = plan.global_batch_size // (candidate.micro_batch * plan.num_devices)
    return f"{candidate.micro_batch} × {steps}"


def _table(columns: Sequence[str], num_left: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < num_left else "right", no_wrap=True)
    return table


def _one_gpu(plan: Plan, gpu: Gpu, num_rows: int) -> list[RenderableType]:
    ranked = fastest(plan.estimates)
    yours = next((e for e in plan.estimates if e.candidate == plan.base), None)
    shown = [*ranked[:num_rows], *([yours] if yours and yours not in ranked[:num_rows] else [])]
    knobs = _varied(estimate.candidate for estimate in shown)
    fitting = f"{len(ranked)} of {len(plan.estimates)} candidates fit"
    words = f"{gpu.title}, {format_bytes(gpu.memory_bytes)}, {plan.headroom:.0%} of it left free: {fitting}"
    table = _table(["batch × steps", *_named(knobs), "peak", "fits", "samples/s", "step", "MFU"], 1 + len(knobs))
    for estimate in shown:
        settings = [value(estimate.candidate.settings.get(knob)) for knob in knobs]
        table.add_row(
            _batches(plan, estimate.candidate) + (" (yours)" if estimate is yours else ""),
            *settings,
            *_figures(estimate),
        )
    parts: list[RenderableType] = [heading(words), table]
    shown_peak = ranked[0] if ranked else yours
    if shown_peak is not None:
        parts += _peak("The fastest" if ranked else "Yours, which does not fit", shown_peak.memory)
    if ranked and yours is not None and yours is not ranked[0]:
        parts += _peak("Yours", yours.memory)
    return parts


def _figures(estimate: Estimate) -> list[str]:
    peak, time = estimate.memory.device_bytes, estimate.time
    cells = ["–" if peak is None else format_bytes(peak), "yes" if estimate.fits else "no"]
    if time is None:
        return [*cells, "–", "–", "–"]
    mfu = "–" if time.mfu is None else f"{time.mfu:.0%}"
    host = " *" if time.is_host_bound else ""
    return [
        *cells,
        format_rate(time.samples_per_second, "").removesuffix(" /s") + host,
        format_seconds(time.step_seconds),
        mfu,
    ]


def _peak(whose: str, memory: MemoryEstimate) -> list[RenderableType]:
    reserved = "out of memory" if memory.reserved_bytes is None else f"{format_bytes(memory.reserved_bytes)} reserved"
    shown = "" if memory.device_bytes is None else f", {format_bytes(memory.device_bytes)} in nvidia-smi"
    words = f"{whose}: memory at its peak, {format_bytes(memory.allocated_bytes)} allocated, {reserved}{shown}"
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    for name, num_bytes in memory.parts.items():
        if num_bytes:
            table.add_row(PART_NAMES.get(name, name), format_bytes(num_bytes))
    if memory.paged_bytes:
        table.add_row("paged optimizer state, beside it", format_bytes(memory.paged_bytes))
    parts: list[RenderableType] = [heading(words), table]
    if memory.holders:
        first = memory.holders[0]
        where = f" in {clean(first.module)}" if first.module else ""
        parts.append(bullet(f"largest holder: {clean(first.operator)}{where}, {format_bytes(first.num_bytes)}"))
    return parts


def _all_gpus(plan: Plan) -> list[RenderableType]:
    priced = any(estimate.cost_per_million_samples is not None for estimate in plan.estimates)
    rows = [(gpu, fastest(e for e in plan.estimates if e.gpu == gpu.name)) for gpu in plan.gpus]
    knobs = _varied(ranked[0].candidate for _, ranked in rows if ranked)
    columns = ["GPU", "batch × steps", *_named(knobs), "peak", "of", "samples/s", "MFU"]
    table = _table([*columns, *(["cost / 1M samples"] if priced else [])], 2 + len(knobs))
    for gpu, ranked in sorted(rows, key=lambda row: -_speed(row[1][0]) if row[1] else 0.0):
        memory = format_bytes(gpu.memory_bytes)
        if not ranked:
            table.add_row(gpu.name, "nothing fits", *("" for _ in knobs), "", memory, "", "")
            continue
        best = ranked[0]
        settings = [value(best.candidate.settings.get(knob)) for knob in knobs]
        peak, _, rate, _, mfu = _figures(best)
        cells = [gpu.name, _batches(plan, best.candidate), *settings, peak, memory, rate, mfu]
        table.add_row(*cells, *([_cost(best)] if priced else []))
    parts: list[RenderableType] = [heading("The fastest that fits, GPU by GPU"), table]
    cheapest = min((r[0] for _, r in rows if r and r[0].cost_per_million_samples is not None), key=_price, default=None)
    if cheapest is not None:
        parts.append(bullet(f"cheapest: {cheapest.gpu}, {_cost(cheapest)} for a million samples"))
    return parts


def _price(estimate: Estimate) -> float:
    return estimate.cost_per_million_samples or 0.0


def _cost(estimate: Estimate) -> str:
    cost = estimate.cost_per_million_samples
    return "–" if cost is None else f"{cost:,.2f}"


def _largest_block(plan: Plan, gpu: Gpu) -> list[RenderableType]:
    mine = [largest for largest in plan.largest if largest.gpu == gpu.name]
    knobs = _varied(largest.candidate for largest in mine)
    table = _table([*_named(knobs), "largest micro-batch", "peak there"], len(knobs))
    for largest in sorted(mine, key=lambda one: -(one.micro_batch or 0)):
        peak = largest.memory.device_bytes
        table.add_row(
            *(value(largest.candidate.settings.get(knob)) for knob in knobs),
            "none" if largest.micro_batch is None else f"{largest.micro_batch:,}",
            "–" if peak is None else format_bytes(peak),
        )
    return [heading(f"{gpu.title}: largest micro-batch, {plan.headroom:.0%} of the memory left free"), table]


def _certainty(plan: Plan) -> list[str]:
    times = [estimate.time for estimate in plan.estimates if estimate.time]
    lines = [
        *_bands("Memory", [estimate.memory for estimate in plan.estimates]),
        "It is that of the heaviest micro-batch of your data, in training; evaluation and checkpoints are not in it.",
        *_bands("Speed", times),
    ]
    if times:
        lines.append("Speed knows nothing of the data loader.")
    if any(time.is_host_bound for time in times):
        lines.append(
            "* launching kernels takes longer than running them: the GPU waits for the CPU, so its speed decides."
        )
    lines.append("`perftune probe` on the GPU itself measures; a plan only says what to rent for it.")
    return lines


def _bands(what: str, predicted: Sequence[MemoryEstimate] | Sequence[TimeEstimate]) -> list[str]:
    """Each band that occurs, narrowest first, and for which settings it is wider."""
    reasons: dict[float, dict[str, None]] = {}
    for one in predicted:
        reasons.setdefault(one.error_band, {}).update(dict.fromkeys(one.outside))
    return [
        f"{what}: within {band:.0%} {clean(', '.join(why)) + UNCOVERED if why else COVERED}."
        for band, why in sorted(reasons.items())
    ]
