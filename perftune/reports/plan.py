"""A plan to the document that every renderer walks: what fits and is fast where, the peak by part, how sure it is."""

from collections.abc import Sequence

from perftune.records.estimate import Estimate, MemoryEstimate, Plan, TimeEstimate
from perftune.records.gpu import Gpu
from perftune.reports.document import Bullet, Bullets, Cell, Column, Document, Kind, Paragraph, Section, Table, Tone
from perftune.reports.plan_tables import every_gpu, fastest, largest_batches, one_gpu, own_estimate
from perftune.reports.words import bytes_cell, clean, cost_cell
from perftune.units import format_bytes

NUM_ROWS = 10
COVERED, UNCOVERED = "in nine of ten published measurements", ", which no published measurement covers"
PART_NAMES = {
    "parameters": "parameters", "buffers": "buffers", "gradients": "gradients", "optimizer_state": "optimizer state",
    "activations": "activations", "temporaries": "temporaries", "optimizer_temporaries": "temporaries of the optimizer",
    "workspaces": "workspaces of libraries",
    "fragmentation": "reserved, not in use", "context": "CUDA context",
}  # fmt: skip


def plan_document(plan: Plan, *, num_rows: int = NUM_ROWS) -> Document:
    """Everything that was asked, most wanted first.

    Args:
        plan: for one GPU or for several.
        num_rows: candidates of one GPU that are listed.
    """
    if plan.largest:
        asked = [_largest(plan, gpu) for gpu in plan.gpus]
    else:
        asked = _one(plan, plan.gpus[0], num_rows) if len(plan.gpus) == 1 else [_all(plan)]
    sections = [
        Section("", (Paragraph(_data(plan), Tone.QUIET),)),
        *asked,
        Section("How sure this is", (Bullets(tuple(_certainty(plan))),)),
        *([Section("Notes", (Bullets(tuple(Bullet(clean(note)) for note in plan.notes)),))] if plan.notes else []),
    ]
    return Document(_title(plan), tuple(sections))


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


def _one(plan: Plan, gpu: Gpu, num_rows: int) -> list[Section]:
    ranked, yours = fastest(plan.estimates), own_estimate(plan)
    fitting = f"{len(ranked)} of {len(plan.estimates)} candidates fit"
    words = f"{gpu.title}, {format_bytes(gpu.memory_bytes)}, {plan.headroom:.0%} of it left free: {fitting}"
    sections = [Section(words, (one_gpu(plan, num_rows),))]
    shown_peak = ranked[0] if ranked else yours
    if shown_peak is not None:
        sections.append(_peak("The fastest" if ranked else "Yours, which does not fit", shown_peak.memory))
    if ranked and yours is not None and yours is not ranked[0]:
        sections.append(_peak("Yours", yours.memory))
    return sections


def _peak(whose: str, memory: MemoryEstimate) -> Section:
    reserved = "out of memory" if memory.reserved_bytes is None else f"{format_bytes(memory.reserved_bytes)} reserved"
    shown = "" if memory.device_bytes is None else f", {format_bytes(memory.device_bytes)} in nvidia-smi"
    words = f"{whose}: memory at its peak, {format_bytes(memory.allocated_bytes)} allocated, {reserved}{shown}"
    parts = {PART_NAMES.get(name, clean(name)): num_bytes for name, num_bytes in memory.parts.items() if num_bytes}
    if memory.paged_bytes:
        parts["paged optimizer state, beside it"] = memory.paged_bytes
    rows = tuple((Cell(name), bytes_cell(num_bytes)) for name, num_bytes in parts.items())
    table = Table((Column("", Kind.NAME), Column("", Kind.NUMBER)), rows)
    if not memory.holders:
        return Section(words, (table,))
    first = memory.holders[0]
    where = f" in {clean(first.module)}" if first.module else ""
    holder = Bullet(f"{clean(first.operator)}{where}, {format_bytes(first.num_bytes)}", "largest holder")
    return Section(words, (table, Bullets((holder,))))


def _all(plan: Plan) -> Section:
    table = every_gpu(plan)
    ranked = [fastest(e for e in plan.estimates if e.gpu == gpu.name) for gpu in plan.gpus]
    priced = [each[0] for each in ranked if each and each[0].cost_per_million_samples is not None]
    if not priced:
        return Section("The fastest that fits, GPU by GPU", (table,))
    cheapest = min(priced, key=_price)
    cost = cost_cell(cheapest.cost_per_million_samples).text
    bullet = Bullet(f"{cheapest.gpu}, {cost} for a million samples", "cheapest")
    return Section("The fastest that fits, GPU by GPU", (table, Bullets((bullet,))))


def _price(estimate: Estimate) -> float:
    return estimate.cost_per_million_samples or 0.0


def _largest(plan: Plan, gpu: Gpu) -> Section:
    words = f"{gpu.title}: largest micro-batch, {plan.headroom:.0%} of the memory left free"
    return Section(words, (largest_batches(plan, gpu),))


def _certainty(plan: Plan) -> list[Bullet]:
    times = [estimate.time for estimate in plan.estimates if estimate.time]
    bullets = [
        *_bands("Memory", [estimate.memory for estimate in plan.estimates]),
        Bullet(
            "It is that of the heaviest micro-batch of your data, in training; evaluation and checkpoints are not "
            "in it."
        ),
        *_bands("Speed", times),
    ]
    if times:
        bullets.append(Bullet("Speed knows nothing of the data loader."))
    if any(time.is_host_bound for time in times):
        said = "* launching kernels takes longer than running them: the GPU waits for the CPU, so its speed decides."
        bullets.append(Bullet(said))
    bullets.append(Bullet("`perftune probe` on the GPU itself measures; a plan only says what to rent for it."))
    return bullets


def _bands(what: str, predicted: Sequence[MemoryEstimate] | Sequence[TimeEstimate]) -> list[Bullet]:
    """Each band that occurs, narrowest first, and for which settings it is wider."""
    reasons: dict[float, dict[str, None]] = {}
    for one in predicted:
        reasons.setdefault(one.error_band, {}).update(dict.fromkeys(one.outside))
    return [
        Bullet(f"within {band:.0%} {clean(', '.join(why)) + UNCOVERED if why else COVERED}.", what)
        for band, why in sorted(reasons.items())
    ]
