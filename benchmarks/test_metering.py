"""What watching costs: the same training with and without the meter, in turns, in one process.

pytest benchmarks/test_metering.py --benchmark-only -s
"""

import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from perftune.devices import training_device
from perftune.records.candidate import Candidate
from perftune.records.trial import Purpose, StopRule, TrialRequest, WorkloadSource
from perftune.trials.heartbeat import HeartbeatFile
from perftune.trials.meter import StepMeter
from perftune.trials.probed_trainer import watch
from perftune.trials.session import Session

STEPS, ROUNDS = 40, 15
WIDTH = 1500
"""A step of about 20 ms on two cores."""


class Moments(TrainerCallback):
    """The time of each step's end: the only thing added to the bare Trainer."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time."""
        self.moments.append(time.perf_counter())


class Model(torch.nn.Module):
    """Three square layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH) for _ in range(3)))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """A loss of the mean square."""
        return {"loss": self.layers(x).square().mean()}


def step_seconds(folder: Path, watched: bool) -> float:
    torch.manual_seed(0)
    args = TrainingArguments(
        output_dir=str(folder), max_steps=STEPS, per_device_train_batch_size=64, use_cpu=True, report_to=[],
        disable_tqdm=True, logging_strategy="no", save_strategy="no",
    )  # fmt: skip
    data = [{"x": torch.randn(WIDTH)} for _ in range(256)]
    moments = Moments()
    trainer = Trainer(model=Model(), args=args, train_dataset=data, callbacks=[moments])
    if not watched:
        trainer.train()
    else:
        device = training_device("cpu")
        meter = StepMeter(device)
        beat = HeartbeatFile(folder / "heartbeat.json", device.used_bytes)
        source = WorkloadSource(build="x.py:build", working_directory=".")
        request = TrialRequest(
            number=1, purpose=Purpose.RACE, candidate=Candidate(settings={}), workload=source, arguments={},
            stop=StopRule(min_steps=STEPS, max_steps=STEPS, max_seconds=1e9, relative_half_width=0.0),
        )  # fmt: skip
        session = Session(request, meter, None, args.device, lambda n, s: beat.beat("train", n, s), lambda: None)
        watch(trainer, session)
        with meter.observe_backward():
            trainer.train()
    later = moments.moments[5:]
    return median(b - a for a, b in pairwise(later))


def test_metering_costs_little(benchmark: Any, tmp_path: Path) -> None:
    ratios = []
    bare_seconds = []

    def round_of_two() -> None:
        order = [False, True] if len(ratios) % 2 else [True, False]
        seconds = {watched: step_seconds(tmp_path, watched) for watched in order}
        ratios.append(seconds[True] / seconds[False])
        bare_seconds.append(seconds[False])

    benchmark.pedantic(round_of_two, rounds=ROUNDS, iterations=1, warmup_rounds=1)
    overhead = median(ratios) - 1
    benchmark.extra_info.update(overhead=overhead, bare_step_seconds=median(bare_seconds), ratios=ratios)
    print(f"metering: {overhead:+.2%} of a step of {median(bare_seconds) * 1e3:.1f} ms; rounds {sorted(ratios)}")
    assert overhead < 0.05
