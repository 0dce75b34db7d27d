"""Every probe's traced peak of allocated memory beside that of the same training for real, on this CPU.

python -m benchmarks.validation.cpu_peaks [--probe NAME …] [--micro-batch N] [--set FIELD=JSON …]

Both sides train on the heaviest micro-batch, twice a step, each in a process of its own: the trace under the rules of
the CPU, replayed without CUDA's rounding; the real run counted by the profiler's memory events. The parameters, which
both have alike, are left out of the figures, since they would hide errors.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from perftune.isolation.protocol import PRELOAD_TO_TRACE
from perftune.isolation.runner import ForkServerRunner
from perftune.plan.memory import allocated_peak
from perftune.plan.program import build_program
from perftune.plan.tapes import constant
from perftune.records.candidate import MICRO_BATCH
from perftune.records.survey import SurveyRequest
from perftune.records.trace import Trace, TraceRequest
from perftune.spec import load_probe, workload_source
from perftune.units import MIB
from perftune.workloads.arguments import training_arguments
from perftune.workloads.loading import build_trainer
from perftune.workloads.worst_batch import Source, train_source

PROBES = Path(__file__).parents[2] / "probes"
MICRO_STEPS = 2
OPTIMIZER = "adamw_torch_fused"
"""What transformers takes where nothing is said."""
EPOCHS = 3
"""Of one step each: a callback of a probe has all parameters train only from the second on."""


class Compared(NamedTuple):
    """One probe's two peaks of what is allocated beside the parameters and buffers."""

    probe: str
    micro_batch: int
    model_bytes: int
    traced_bytes: int
    real_bytes: int

    @property
    def error(self) -> float:
        """Traced over real, less one."""
        return self.traced_bytes / self.real_bytes - 1


class Repeated(Dataset[Any]):
    """The heaviest micro-batch, as often as a step has micro-steps."""

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self._samples = [source.dataset[index] for index in indices] * MICRO_STEPS

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        return self._samples[index]


def request_for(path: Path, runner: ForkServerRunner, micro_batch: int, changed: dict[str, Any]) -> TraceRequest:
    """What both sides are asked for."""
    probe = load_probe(path)
    source = workload_source(probe)
    survey = runner.survey(
        SurveyRequest(
            workload=source,
            arguments=probe.training_arguments,
            global_batch_size=probe.global_batch_size,
            device="cpu",
            weightless=True,
        )
    )
    fixed = {"gradient_accumulation_steps": MICRO_STEPS, "save_strategy": "no", "eval_strategy": "no"}
    arguments = {"optim": OPTIMIZER, **probe.training_arguments, **fixed, **changed}
    return TraceRequest(
        workload=source,
        arguments=arguments,
        micro_batches=(micro_batch,),
        optimizers=(str(arguments["optim"]),),
        sample_indices=tuple(sample.index for sample in survey.worst_samples),
        semantics="cpu",
    )


def traced_bytes(trace: Trace) -> int:
    """Peak beside the parameters and buffers."""
    (step,), (optimizer,) = trace.steps, trace.optimizers
    assert optimizer.tape is not None, optimizer.reason
    program = build_program(trace, constant(step.tape), constant(optimizer.tape), accumulates=True)
    peak = allocated_peak(program, step.micro_batch, rounded_to=1)
    return peak.allocated_bytes - sum(trace.parameter_bytes) - sum(trace.buffer_bytes)


def real_bytes(request: TraceRequest, folder: Path) -> int:
    """Train for real: the most that was allocated after the model and the data were there."""
    (micro_batch,) = request.micro_batches
    arguments = {**request.arguments, MICRO_BATCH: micro_batch, "max_steps": EPOCHS}
    args = training_arguments(arguments, folder, "cpu")
    trainer = build_trainer(request.workload, args, request.attn_implementation)
    source = train_source(trainer)
    indices = [request.sample_indices[i % len(request.sample_indices)] for i in range(micro_batch)]
    data = Repeated(source, indices)
    loader: Any = DataLoader(data, batch_size=micro_batch, collate_fn=source.collate)
    trainer.get_train_dataloader = lambda: loader  # type: ignore[method-assign]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        trainer.train()
    assert trainer.state.global_step == EPOCHS
    return peak_of_events(profiler)


def peak_of_events(profiler: torch.profiler.profile) -> int:
    """The highest sum of the profiler's memory events, in the order of time."""
    assert profiler.profiler is not None
    results: Any = profiler.profiler.kineto_results
    memory = sorted((e.start_ns(), e.nbytes()) for e in results.events() if e.name() == "[memory]")
    level = peak = 0
    for _, num_bytes in memory:
        level += num_bytes
        peak = max(peak, level)
    return peak


def real_in_a_process(request: TraceRequest, folder: Path) -> int:
    """The same in an interpreter of its own."""
    (folder / "request.json").write_text(request.model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-m", __spec__.name if __spec__ else "", "--real", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return int(json.loads((folder / "real.json").read_text(encoding="utf-8")))


def compare(path: Path, runner: ForkServerRunner, folder: Path, micro_batch: int, changed: dict[str, Any]) -> Compared:
    """Both sides of one probe."""
    request = request_for(path, runner, micro_batch, changed)
    trace = runner.trace(request, 0)
    model_bytes = sum(trace.parameter_bytes) + sum(trace.buffer_bytes)
    return Compared(path.stem, micro_batch, model_bytes, traced_bytes(trace), real_in_a_process(request, folder))


def markdown(rows: Sequence[Compared]) -> str:
    """One row a probe."""
    lines = ["| probe | micro-batch | model MiB | traced MiB | real MiB | error |", "|---|---|---|---|---|---|"]
    for row in rows:
        sizes = " | ".join(f"{size / MIB:.2f}" for size in (row.model_bytes, row.traced_bytes, row.real_bytes))
        lines.append(f"| {row.probe} | {row.micro_batch} | {sizes} | {row.error:+.2%} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probe", nargs="*", default=[path.stem for path in sorted(PROBES.glob("*.yaml"))])
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=JSON", help="TrainingArguments for both sides")
    parser.add_argument("--real", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.real:
        request = TraceRequest.model_validate_json((options.real / "request.json").read_text(encoding="utf-8"))
        found = real_bytes(request, options.real)
        (options.real / "real.json").write_text(json.dumps(found), encoding="utf-8")
        return
    changed = {name: json.loads(value) for name, _, value in (item.partition("=") for item in options.set)}
    rows = []
    with TemporaryDirectory() as name, ForkServerRunner(Path(name) / "run", preload=PRELOAD_TO_TRACE) as runner:
        for probe in options.probe:
            rows.append(compare(PROBES / f"{probe}.yaml", runner, Path(name), options.micro_batch, changed))
            print(rows[-1], file=sys.stderr, flush=True)
    print(markdown(rows))


if __name__ == "__main__":
    main()
