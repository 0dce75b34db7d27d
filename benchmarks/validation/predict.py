"""Every usable row of rows.jsonl to what `perftune plan` predicts for it.

python -m benchmarks.validation.predict --out predictions.json [--only SUBSTRING …]
"""

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.validation.rows import Row, is_in_trainer, load_rows, usable
from benchmarks.validation.score import Predicted
from perftune.catalogue import load_catalogue
from perftune.errors import PerftuneError
from perftune.isolation.protocol import PRELOAD_TO_TRACE
from perftune.isolation.runner import ForkServerRunner
from perftune.plan.calibration import CONTEXT_BYTES
from perftune.plan.estimate import Setup, Variant, estimate
from perftune.plan.tapes import DifferentTapesError
from perftune.records.candidate import CHECKPOINTING, MICRO_BATCH, OPTIMIZER, PRECISION, Candidate
from perftune.records.gpu import Gpu
from perftune.records.trace import Trace, TraceRequest
from perftune.records.trial import WorkloadSource

FOLDER = Path(__file__).parent
WORKLOAD = f"{FOLDER / 'workload.py'}:build"
VARIES = (
    "model", "task", "seq_len", "target_len", "attention_mask", "weights_dtype", "compute_dtype", "double_quant", "amp",
    "checkpointing", "reentrant", "attention", "lora", "upcast", "optimizer_implementation", "software",
)  # fmt: skip
"""Fields that decide what is traced."""
EAGERLY_LOADED_BYTES = 1343 * 2**20
"""CUDA before 11.7 loaded all of torch's kernels as the context was made: what hf-docs-perf-train-gpu-one prints of its
V100 before there is a model; compute processes of 2022 and before have it, later ones what `CONTEXT_BYTES` says."""
LAZY_LOADING = 2023
NVML_TOTAL_BYTES = {
    "l40s-48gb": 46_068 * 2**20, "h100-80gb-sxm": 81_559 * 2**20, "h200-141gb-sxm": 143_771 * 2**20,
}  # fmt: skip
"""What nvidia-smi prints as the GPU's total."""
COUNTS_WHAT_THE_DRIVER_KEEPS = {"milabench"}
"""Sources that seem to read ``nvmlDeviceGetMemoryInfo``, whose ``used`` holds what the driver keeps from programs;
nvidia-smi prints that apart, and the catalogue's memory is without it."""
STAND_IN = "a100-80gb-sxm"
"""Where the GPU is not stated: allocated memory is the same on all of its kind."""
NO_END = 2**50
SIZES = (1, 2, 4)
"""Micro-batches that `perftune plan` traces; all others follow from the last two."""


def trace_key(row: Row, flash: bool) -> str:
    """Rows with the same key share a trace."""
    varied = {name: row[name] for name in VARIES}
    return json.dumps({**varied, "trainer": is_in_trainer(row), "flash": flash}, sort_keys=True)


def gpu_of(row: Row, catalogue: dict[str, Gpu]) -> Gpu:
    """The row's GPU."""
    return catalogue[row["gpu"] or STAND_IN]


def has_flash(gpu: Gpu, row: Row) -> bool:
    """Whether attention runs in the flash kernel there."""
    new = gpu.compute_capability is None or gpu.compute_capability >= (8, 0)
    return new and row["attention"] != "sdpa_efficient"


def precision(row: Row) -> str:
    """The knob's value."""
    return row["amp"] or ("tf32" if row["tf32"] else "fp32")


def grouped(rows: Iterable[Row], catalogue: dict[str, Gpu]) -> list[list[Row]]:
    """Rows that share a trace, together."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(trace_key(row, has_flash(gpu_of(row, catalogue), row)), []).append(row)
    return list(groups.values())


def traced(runner: ForkServerRunner, rows: Sequence[Row], flash: bool, number: int, kept: Path | None) -> Variant:
    """The trace that some rows share, from the folder of kept ones if it is there."""
    first = rows[0]
    file = kept / f"{first['id']}.json" if kept else None
    sizes = sizes_to_trace({row["micro_batch"] for row in rows})
    optimizers = tuple(dict.fromkeys(row["optimizer"] for row in rows))
    if file is not None and file.exists():
        trace = Trace.model_validate_json(file.read_text())
        if _has(trace, sizes, optimizers):
            return Variant(trace)
    from_row = _arguments(first)
    request = TraceRequest(
        workload=WorkloadSource(build=WORKLOAD, working_directory=str(FOLDER.parents[1])),
        arguments={**from_row, "gradient_accumulation_steps": 2},
        micro_batches=sizes,
        optimizers=optimizers,
        has_flash_attention=flash,
        environment={"PERFTUNE_VALIDATION_ROW": json.dumps(dict(first))},
    )
    trace = runner.trace(request, number)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(trace.model_dump_json())
    return Variant(trace)


def sizes_to_trace(micro_batches: set[int]) -> tuple[int, ...]:
    """The traced sizes that predictions for these micro-batches use."""
    needed = micro_batches & set(SIZES)
    return tuple(sorted(needed | set(SIZES[-2:]))) if micro_batches - set(SIZES) else tuple(sorted(needed))


def _has(trace: Trace, sizes: Sequence[int], optimizers: Sequence[str]) -> bool:
    """Whether a kept trace, which may be of fewer rows, is enough."""
    known = {step.micro_batch for step in trace.steps}, {each.optim for each in trace.optimizers}
    return known[0] >= set(sizes) and known[1] >= set(optimizers)


def _arguments(row: Row) -> dict[str, Any]:
    values: dict[str, Any] = {
        "bf16": row["amp"] is not None and is_in_trainer(row),  # fp16 has the same shapes
        CHECKPOINTING: bool(row["checkpointing"]),
    }
    if row["checkpointing"]:
        values[f"{CHECKPOINTING}_kwargs"] = {"use_reentrant": bool(row["reentrant"])}
    return values


def predicted(row: Row, variant: Variant, gpu: Gpu) -> Predicted:
    """What the plan says of one row."""
    num_gpus = row["num_gpus"] or 1
    settings = {
        MICRO_BATCH: row["micro_batch"],
        PRECISION: precision(row),
        OPTIMIZER: row["optimizer"],
        CHECKPOINTING: bool(row["checkpointing"]),
    }
    length = row["seq_len"]
    setup = Setup(
        global_batch_size=row["micro_batch"] * (row["accumulation"] or 1) * num_gpus,
        num_devices=num_gpus,
        sharding=row["sharding"] if num_gpus > 1 else "none",
        num_tokens_by_percent=(length,) * 101,
        mean_num_tokens=length,
    )
    candidate = Candidate(settings=settings)
    found = estimate(variant, gpu, candidate, setup)
    memory = found.memory
    if memory.device_bytes is None:  # how much it lacks
        memory = estimate(variant, gpu.model_copy(update={"memory_bytes": NO_END}), candidate, setup).memory
    samples = found.time.samples_per_second / num_gpus if found.time else None
    return Predicted(
        id=row["id"],
        allocated_bytes=memory.allocated_bytes,
        reserved_bytes=memory.reserved_bytes,
        device_bytes=None if memory.reserved_bytes is None else memory.reserved_bytes + outside_bytes(row, gpu),
        fits=found.fits,
        samples_per_second=samples,
        tokens_per_second=None if samples is None else samples * length,
        memory_band=memory.error_band,
        time_band=found.time.error_band if found.time else None,
        num_trainable=variant.trace.num_trainable_parameters,
    )


def outside_bytes(row: Row, gpu: Gpu) -> int:
    """What the source's device figure holds beside the allocator's segments."""
    context = EAGERLY_LOADED_BYTES if row["software"] < LAZY_LOADING else CONTEXT_BYTES[gpu.architecture]
    if row["source_key"] not in COUNTS_WHAT_THE_DRIVER_KEEPS:
        return context
    return context + NVML_TOTAL_BYTES[gpu.name] - gpu.memory_bytes


def predict(rows: Iterable[Row], folder: Path, kept: Path | None = None) -> list[Predicted]:
    """All rows, in groups that share a trace."""
    catalogue = load_catalogue()
    found: list[Predicted] = []
    with ForkServerRunner(folder, preload=PRELOAD_TO_TRACE) as runner:
        for number, members in enumerate(grouped(rows, catalogue)):
            began = time.monotonic()
            try:
                variant = traced(runner, members, has_flash(gpu_of(members[0], catalogue), members[0]), number, kept)
                found += [predicted(row, variant, gpu_of(row, catalogue)) for row in members]
            except (PerftuneError, LookupError, DifferentTapesError) as error:
                found += [failed(row, str(error)) for row in members]
                print(members[0]["id"], error, flush=True)
            print(f"{members[0]['id']} +{len(members) - 1}: {time.monotonic() - began:.1f} s", flush=True)
    return found


def failed(row: Row, reason: str) -> Predicted:
    """A row that could not be predicted; it counts as an error of 100 %."""
    return Predicted(row["id"], fits=False, note=reason)


def main(arguments: Sequence[str] | None = None) -> None:
    """Predict on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--traces", type=Path, help="keep traces in this folder, and take those that are there")
    options = parser.parse_args(arguments)
    rows = [row for row in load_rows() if usable(row) and any(part in row["id"] for part in options.only)]
    with TemporaryDirectory() as folder:
        found = predict(rows, Path(folder), options.traces)
    options.out.write_text(json.dumps([prediction._asdict() for prediction in found], indent=1))


if __name__ == "__main__":
    main()
