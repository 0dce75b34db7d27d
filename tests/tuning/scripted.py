"""A runner that answers from made-up physics, so that whole studies run in a moment and always the same."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from perftune.errors import WorkloadError
from perftune.isolation.heat import GoesOn, TurnPlan
from perftune.records.candidate import PRECISION, Candidate
from perftune.records.device import Device, Telemetry, Versions
from perftune.records.gradients import GradientSketch, GroupSketch
from perftune.records.heat import TurnTaken
from perftune.records.probe import Budget, ProbeSpec, Target
from perftune.records.recommendation import Recommendation
from perftune.records.study import Study
from perftune.records.survey import Survey, SurveyRequest, WorstSample
from perftune.records.trace import Trace, TraceRequest
from perftune.records.trial import (
    Evaluation,
    Failure,
    Heartbeat,
    Measurement,
    MemoryPeak,
    Outcome,
    Slice,
    Steps,
    Trial,
    TrialRequest,
)
from perftune.tuning import probe_study
from perftune.units import GIB, MIB

GLOBAL_BATCH = 32
Fault = Callable[[TrialRequest], Failure | None]


def no_fault(_: TrialRequest) -> Failure | None:
    return None


@dataclass
class Physics:
    """Seconds and bytes of a candidate."""

    overhead_seconds: float = 0.02
    sample_seconds: float = 0.01
    bf16_factor: float = 0.5
    optimizer_seconds: float = 0.02
    base_bytes: int = 200 * MIB
    sample_bytes: int = 20 * MIB
    noise: float = 0.01
    process_noise: float = 0.0
    compiled_factor: float = 1.0
    compile_seconds: float = 0.0

    def parts(self, candidate: Candidate) -> tuple[float, float]:
        """Compute and optimizer seconds of one optimizer step."""
        factor = {"bf16": self.bf16_factor, "fp16": 1.5}.get(str(candidate.settings.get(PRECISION)), 1.0)
        factor *= 1.3 if candidate.settings.get("activation_checkpointing") else 1.0
        factor *= self.compiled_factor if candidate.settings.get("torch_compile") else 1.0
        micro_steps = GLOBAL_BATCH // candidate.micro_batch
        compute = micro_steps * (self.overhead_seconds + candidate.micro_batch * self.sample_seconds * factor)
        return compute, self.optimizer_seconds * (5 if "8bit" in str(candidate.settings.get("optim")) else 1)

    def peak_bytes(self, candidate: Candidate) -> int:
        factor = 0.5 if candidate.settings.get("activation_checkpointing") else 1.0
        return round(self.base_bytes + candidate.micro_batch * self.sample_bytes * factor)


@dataclass
class FakeClock:
    """Goes on as trials are run."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class ScriptedRunner:
    """Keeps every request; the same physics always gives the same study."""

    physics: Physics = field(default_factory=Physics)
    fault: Fault = no_fault
    loss_shift: Callable[[TrialRequest], float] = lambda _: 0.0
    telemetry: Callable[[TrialRequest], Telemetry | None] = lambda _: None
    extra_bytes: Callable[[TrialRequest], int] = lambda _: 0
    traced: Callable[[TraceRequest], Trace] | None = None
    traces: list[TraceRequest] = field(default_factory=list)
    num_trainable_parameters: int | None = None
    has_dropout: bool = False
    interrupt_at: int | None = None
    requests: list[TrialRequest] = field(default_factory=list)
    num_heats_in_turns: int = 0
    clock: FakeClock = field(default_factory=FakeClock)
    finished: dict[int, Trial] = field(default_factory=dict)
    read_back: dict[str, Any] = field(default_factory=dict)

    def __call__(self, _: Path) -> "ScriptedRunner":
        return self

    def __enter__(self) -> "ScriptedRunner":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def survey(self, request: SurveyRequest) -> Survey:
        return survey()

    def trace(self, request: TraceRequest, number: int) -> Trace:
        if self.traced is None:
            raise WorkloadError("made-up physics cannot be traced")
        self.traces.append(request)
        return self.traced(request)

    def round_trip(self, yaml_text: str) -> dict[str, Any]:
        return {**yaml.safe_load(yaml_text), **self.read_back}

    def adopt(self, number: int) -> Trial | None:
        return None

    def run(self, request: TrialRequest, on_heartbeat: Callable[[Heartbeat], None] | None = None) -> Trial:
        if self.interrupt_at is not None and len(self.requests) >= self.interrupt_at:
            raise KeyboardInterrupt
        self.requests.append(request)
        self.clock.seconds += 0.01
        if on_heartbeat is not None:
            on_heartbeat(Heartbeat(phase="train", num_steps=1, step_seconds=0.1, memory_bytes=100))
        failure = self._memory_failure(request) or self.fault(request)
        measurement = None if failure else self._measurement(request)
        self.clock.seconds += self._wall_seconds(request, measurement)
        return Trial(
            heat=request.heat,
            number=request.number,
            purpose=request.purpose,
            candidate=request.candidate,
            outcome=failure.kind if failure else Outcome.COMPLETED,
            measurement=measurement,
            failure=failure,
            wall_seconds=self._wall_seconds(request, measurement),
        )

    def run_in_turns(
        self,
        requests: Sequence[TrialRequest],
        plan: TurnPlan,
        goes_on: GoesOn,
        on_heartbeat: Callable[[Heartbeat], None] | None = None,
    ) -> list[Trial]:
        """Slices of one step; who fails is out, and the others go on."""
        heat = requests[0].number
        self.num_heats_in_turns += 1
        begun = [self.run(request.model_copy(update={"heat": heat}), on_heartbeat) for request in requests]
        alive = [trial.number for trial in begun if trial.measurement is not None]
        num_rounds = 0
        while num_rounds < plan.max_rounds and len(alive) > 1:
            num_rounds += 1
            begun_slice = Slice(round=num_rounds - 1, first_step=0, num_steps=1, begun_monotonic_seconds=0.0)
            turn = {number: TurnTaken(slice=begun_slice, step_seconds=(1.0,)) for number in alive}
            if len(goes_on([turn] * num_rounds)) < 2:
                break
        return [
            self._in_turns(trial, request, plan, num_rounds) for trial, request in zip(begun, requests, strict=True)
        ]

    def _in_turns(self, trial: Trial, request: TrialRequest, plan: TurnPlan, num_rounds: int) -> Trial:
        if trial.measurement is None:
            return trial
        count = plan.warmup_steps + num_rounds
        measurement = self._measurement(request.model_copy(update={"exact_steps": count}))
        slices = tuple(
            Slice(round=n, first_step=plan.warmup_steps + n, num_steps=1, begun_monotonic_seconds=float(n))
            for n in range(num_rounds)
        )
        measurement = measurement.model_copy(update={"slices": slices, "num_warmup_steps": plan.warmup_steps})
        wall = self._wall_seconds(request, measurement)
        self.clock.seconds += wall - trial.wall_seconds
        return trial.model_copy(update={"measurement": measurement, "wall_seconds": wall})

    def _loss_noise(self, request: TrialRequest) -> float:
        return 0.25 if self.has_dropout and not request.without_dropout else 0.001

    def _first_gradient(self, request: TrialRequest) -> GradientSketch | None:
        """With dropout another direction for every micro-batch."""
        if not self.has_dropout:
            return None
        is_random = not request.without_dropout
        angle = float(request.candidate.micro_batch) if is_random else 0.0
        group = GroupSketch(name="head", num_parameters=9, norm=1.0, projection=(math.cos(angle), math.sin(angle)))
        return GradientSketch(
            groups=(group,), precision="bf16", num_micro_batches=1, samples_digest=7, is_random=is_random
        )

    def _wall_seconds(self, request: TrialRequest, measurement: Measurement | None) -> float:
        compiling = self.physics.compile_seconds if request.candidate.settings.get("torch_compile") else 0.0
        return 2.0 + compiling + (sum(measurement.steps.step_seconds) if measurement else 0.0)

    def _memory_failure(self, request: TrialRequest) -> Failure | None:
        limit = request.memory_limit_bytes or 0
        if self.physics.peak_bytes(request.candidate) <= limit:
            return None
        return Failure(kind=Outcome.OUT_OF_MEMORY, message="can't allocate memory")

    def _measurement(self, request: TrialRequest) -> Measurement:
        rng = random.Random(request.candidate.key + str(request.number))
        compute, optimizer = self.physics.parts(request.candidate)
        count = request.exact_steps or 8
        process = math.exp(rng.gauss(0, self.physics.process_noise))
        slow = [process * (1 + abs(rng.gauss(0, self.physics.noise))) for _ in range(count)]
        shift = self.loss_shift(request)
        steps = Steps(
            step_seconds=tuple((compute + optimizer) * factor for factor in slow),
            data_seconds=(0.001,) * count,
            forward_seconds=tuple(0.4 * compute * factor for factor in slow),
            backward_seconds=tuple(0.6 * compute * factor for factor in slow),
            optimizer_seconds=tuple(optimizer * factor for factor in slow),
            num_samples=(GLOBAL_BATCH,) * count,
            num_tokens=(GLOBAL_BATCH * 50,) * count,
            num_padded_tokens=(GLOBAL_BATCH * 64,) * count,
            loss=tuple((2.0 - 0.01 * i) * (1 + shift) + rng.gauss(0, self._loss_noise(request)) for i in range(count)),
            grad_norm=(1.0,) * count,
        )
        peak = self.physics.peak_bytes(request.candidate) + self.extra_bytes(request)
        evaluation = Evaluation(num_samples=96, seconds=0.45, per_device_eval_batch_size=8)
        evaluations = tuple(
            Evaluation(
                num_samples=256, seconds=0.2 + 2 / size, per_device_eval_batch_size=size, round=number, peak_bytes=peak
            )
            for number in range(3)
            for size in request.eval_batch_sizes
        )
        return Measurement(
            steps=steps,
            num_warmup_steps=0,
            memory=MemoryPeak(kind="resident", peak_bytes=peak, start_bytes=0, train_bytes=peak),
            evaluation=evaluation if request.evaluate and not evaluations else None,
            evaluations=evaluations,
            start_seconds=0.01,
            build_seconds=1.0,
            worst_batch_ran=bool(request.worst_batch),
            num_trainable_parameters=self.num_trainable_parameters,
            telemetry=self.telemetry(request),
            first_gradient=self._first_gradient(request),
            stopped_because="interval",
        )


def survey(**changes: Any) -> Survey:
    """Of a causal LM on a small CPU."""
    values: dict[str, Any] = {
        "trainer_class": "transformers.trainer.Trainer",
        "model_class": "LlamaForCausalLM",
        "num_parameters": 1_000_000,
        "num_trainable_parameters": 1_000_000,
        "num_samples": 1000,
        "num_samples_scanned": 1000,
        "worst_samples": tuple(WorstSample(index=100 + i, num_tokens=500 - i) for i in range(GLOBAL_BATCH)),
        "mean_num_tokens": 50.0,
        "has_eval_dataset": True,
        "arguments": {},
        "argument_fields": ("activation_checkpointing",),
        "base": {
            "per_device_train_batch_size": 8,
            "precision": "fp32",
            "activation_checkpointing": False,
            "optim": "adamw_torch_fused",
            "attn_implementation": "sdpa",
            "dataloader_num_workers": 0,
            "dataloader_prefetch_factor": None,
            "torch_compile": False,
        },
        "supported": {
            "precision": ("fp32", "bf16", "fp16"),
            "activation_checkpointing": (False, True),
            "optim": ("adamw_torch", "adamw_torch_fused", "adamw_bnb_8bit"),
            "attn_implementation": ("sdpa",),
            "dataloader_num_workers": (0, 2),
            "dataloader_prefetch_factor": (None, 2, 4),
            "torch_compile": (False, True),
        },
        "unsupported": {"precision": {"tf32": "tf32 is a format of NVIDIA GPUs"}},
        "device": Device(
            kind="cpu", name="Test CPU", memory_bytes=16 * GIB, num_cores=2, instruction_sets=("avx512_bf16",)
        ),
        "versions": Versions(python="3.11", perftune="0.1.0", packages={"torch": "2.13.0", "transformers": "5.23.0"}),
    }
    return Survey(**{**values, **changes})


def probe(**changes: Any) -> ProbeSpec:
    """A probe of that workload with a limit of 4 GiB."""
    values: dict[str, Any] = {
        "name": "scripted",
        "source_path": "<test>",
        "build": "/nowhere/x.py:build",
        "global_batch_size": GLOBAL_BATCH,
        "training_arguments": {"learning_rate": 1e-3},
        "target": Target(device="cpu", memory_bytes=4 * GIB),
        "budget": Budget(trials=100, minutes=15),
    }
    return ProbeSpec(**{**values, **changes})


def answer(study: Study) -> Recommendation:
    """Of a finished study."""
    assert study.recommendation is not None
    return study.recommendation


def run(directory: Path, runner: ScriptedRunner, **changes: object) -> Study:
    """A whole study of the scripted probe."""
    return probe_study(probe(**changes), directory, runner=runner, clock=runner.clock)


def crash(request: TrialRequest) -> Failure:
    """What says for which purpose it was run."""
    return Failure(kind=Outcome.CRASHED, message=f"no {request.purpose.value} today")
