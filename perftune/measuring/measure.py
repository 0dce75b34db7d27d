"""A trial request to a measurement: build, measured steps, worst batch, evaluation, one checkpoint. Child side."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from transformers import Trainer, set_seed

from perftune.devices import TrainingDevice
from perftune.devices.disturbance import DisturbanceCounters
from perftune.disk import TORCH_TEXTS, is_disk_full
from perftune.errors import ArgumentsChangedError, WorkloadError
from perftune.measuring.checkpoint import no_room
from perftune.measuring.collective import SumOverProcesses, alone, own_rank, sum_over_processes
from perftune.measuring.dropout import without_dropout
from perftune.measuring.evaluation import evaluate, evaluate_in_turns, no_longer_than
from perftune.measuring.gradients import keep_first_gradient
from perftune.measuring.heartbeat import HeartbeatFile
from perftune.measuring.meter import StepMeter
from perftune.measuring.probed_trainer import watch
from perftune.measuring.row_contents import contents_digest
from perftune.measuring.session import MOST_SKIPPED, WORST_TRIES, Session
from perftune.measuring.turns import Turns
from perftune.records.trial import Evaluation, Measurement, MemoryPeak, TrialRequest
from perftune.statistics import num_warmup_steps
from perftune.workloads.arguments import training_arguments
from perftune.workloads.entry import is_killed_worker, said
from perftune.workloads.loading import MUST_REACH, build_trainer
from perftune.workloads.set_by_code import asked_for, refuse_what_did_not_reach
from perftune.workloads.worst_batch import WorstBatch, collate_worst, num_rows, train_source

NUM_WORST_STEPS = 1
"""The optimizer has its state from the measured steps, so memory is at its peak at once."""
SLACK_STEPS = MOST_SKIPPED + WORST_TRIES
"""What a gradient scaler may make of it."""

LONGEST_EVALUATION, GRACE_SECONDS = 2.0, 5.0
"""An evaluation that takes so many times as long as it may, and so much more, is ended: one batch may take for ever."""


class Phases:
    """The phases of a trial: each tells the parent when it begins, and has a peak over what was in use at the start."""

    def __init__(self, device: TrainingDevice, heartbeat: HeartbeatFile) -> None:
        self._device, self._heartbeat = device, heartbeat
        device.reset_peak()
        self.start_bytes = device.used_bytes() if device.memory_kind == "resident" else 0
        self._bytes: dict[str, int] = {}
        self._reserved: list[int] = []
        self._retries: int | None = None
        self._phase = ""

    def begin(self, phase: str) -> None:
        """Building and training are one peak: what is allocated in building stays."""
        if self._phase not in ("", "build"):
            self.end()
        self._phase = phase
        self._heartbeat.beat(phase)

    def step(self, num_steps: int, seconds: float) -> None:
        """An optimizer step is done."""
        self._heartbeat.beat(self._phase, num_steps, seconds)

    def end(self) -> None:
        """A phase is over: keep its peak, and start a new one."""
        peak = self._device.peak()
        self._bytes[self._phase] = max(self._bytes.get(self._phase, 0), peak.bytes - self.start_bytes)
        if peak.reserved_bytes is not None:
            self._reserved.append(peak.reserved_bytes)
        self._retries = peak.num_alloc_retries
        self._device.reset_peak()

    def cut(self) -> int:
        """The peak since the phase began or was cut last; the phase goes on with a new one."""
        cut_bytes = self._device.peak().bytes - self.start_bytes
        self.end()
        return cut_bytes

    def memory(self) -> MemoryPeak:
        """All phases."""
        return MemoryPeak(
            kind=self._device.memory_kind,
            peak_bytes=max(self._bytes.values()),
            start_bytes=self.start_bytes,
            train_bytes=max(self._bytes["train"], self._bytes.get("worst_batch", 0)),
            worst_batch_bytes=self._bytes.get("worst_batch"),
            evaluate_bytes=self._bytes.get("evaluate"),
            save_bytes=self._bytes.get("save"),
            reserved_bytes=max(self._reserved, default=None),
            num_alloc_retries=self._retries,
        )


def lengthen(trainer: Trainer, num_steps: int, global_batch_size: int) -> None:
    """Let training last at least so many optimizer steps; a longer schedule of the user's own is left as it is."""
    args = trainer.args
    if args.max_steps > 0:
        args.max_steps = max(args.max_steps, num_steps)
    else:
        num_samples = len(trainer.train_dataset)  # type: ignore[arg-type]  # without length max_steps is required
        steps_per_epoch = max(1, num_samples // global_batch_size)
        args.num_train_epochs = max(args.num_train_epochs, num_steps / steps_per_epoch + 1)


def most_steps(request: TrialRequest) -> int:
    """Optimizer steps that a trial may take: the schedule of candidates that are compared is made for as many."""
    if request.turns is not None:
        return request.turns.max_steps + NUM_WORST_STEPS
    if request.exact_steps is not None:
        return request.exact_steps + NUM_WORST_STEPS
    return request.stop.max_steps + NUM_WORST_STEPS + SLACK_STEPS


def _turns(request: TrialRequest, directory: Path, total: SumOverProcesses) -> Turns | None:
    if request.turns is None:
        return None
    return Turns(directory, own_rank(), request.turns, total, DisturbanceCounters(device=request.device))


def _session(
    trainer: Trainer,
    request: TrialRequest,
    meter: StepMeter,
    turns: Turns | None,
    total: SumOverProcesses,
    phases: Phases,
) -> Session:
    args = trainer.args
    worst_batch = None
    if request.worst_batch:
        worst_batch = WorstBatch(
            lambda: collate_worst(train_source(trainer), request.worst_batch, args.per_device_train_batch_size),
            args.gradient_accumulation_steps * request.num_processes,
        )
    return Session(
        request,
        meter,
        phases.step,
        worst_batch=worst_batch,
        on_worst_batch=lambda: phases.begin("worst_batch"),
        turns=turns,
        total=total,
    )


def _train(trainer: Trainer, request: TrialRequest, session: Session) -> None:
    watch(trainer, session)
    args = trainer.args
    global_batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * request.num_processes
    lengthen(trainer, most_steps(request), global_batch)
    asked = {name: getattr(args, name) for name in MUST_REACH}
    # a hook on the model would make torch.compile begin anew once it is gone
    with session.meter.observe_backward(None if args.torch_compile else trainer.model):
        trainer.train()
    _refuse_changed_arguments(trainer, asked)
    if not session.meter.step_seconds:
        raise WorkloadError("training ended before one optimizer step was measured (a callback stopped it, or no data)")
    _refuse_another_batch(trainer, session.meter, global_batch)


def _refuse_changed_arguments(trainer: Trainer, asked: Mapping[str, Any]) -> None:
    """A callback that changes them while it trains makes another training of it."""
    changed = [
        f"{name} was {value!r} and became {getattr(trainer.args, name)!r}"
        for name, value in asked.items()
        if getattr(trainer.args, name) != value
    ]
    if changed:
        raise ArgumentsChangedError(
            f"arguments were changed while it trained, by a callback or by the Trainer: {'; '.join(changed)}. What "
            "they are has to be said before: leave such callbacks out for the probe, or probe each stage by itself"
        )


def _refuse_another_batch(trainer: Any, meter: StepMeter, global_batch: int) -> None:
    """An optimizer step that trains on more or fewer samples than asked for is another training.

    The last step of an epoch may have fewer, and of fewer samples than the global batch every step does.
    """
    most, rows = max(meter.steps().num_samples), num_rows(trainer.train_dataset)
    has_too_few = rows is not None and rows < global_batch
    if not meter.knows_samples or most == global_batch or has_too_few:
        return
    size = trainer.args.per_device_train_batch_size
    raise ArgumentsChangedError(
        f"an optimizer step trained on {most} samples where {global_batch} were asked for: the data loader of "
        f"{type(trainer).__mro__[2].__name__} does not follow per_device_train_batch_size={size}. Let it, or hold the "
        "micro-batch at what it gives with `knobs: {per_device_train_batch_size: [...]}` in the probe file"
    )


def _learning_rates(trainer: Any, meter: StepMeter) -> tuple[float, ...]:
    """Those that the schedule began with, and those of the first step, which a callback may have set."""
    begun = [group.get("initial_lr") for group in getattr(trainer.optimizer, "param_groups", [])]
    return tuple(sorted({float(rate) for rate in (*begun, *meter.first_rates) if rate is not None}))


def _num_trainable(trainer: Any) -> int:
    return sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)


@contextmanager
def _saving(trainer: Any) -> Iterator[None]:
    trainer.perftune_may_save = True
    try:
        yield
    finally:
        trainer.perftune_may_save = False


def _save(trainer: Any, device: TrainingDevice, phases: Phases, total: SumOverProcesses) -> str | None:
    """Write a checkpoint; what it raised where training could go on without one.

    Raises:
        DiskFullError: there is no room for one.
    """
    phases.begin("save")
    error_said = None
    try:
        with _saving(trainer):
            trainer._save_checkpoint(trainer.model_wrapped, trial=None)  # noqa: SLF001 (what Trainer itself calls)
    except Exception as error:
        if device.is_out_of_memory(error):
            raise
        if is_disk_full(error) or any(text in str(error) for text in TORCH_TEXTS):
            raise no_room(trainer) from error
        error_said = said(error)
    total((0.0,))  # no process removes the folder under another that still saves
    return error_said


def _evaluate(
    trainer: Trainer, request: TrialRequest, device: TrainingDevice, phases: Phases
) -> tuple[Evaluation | None, tuple[Evaluation, ...], str | None]:
    """One evaluation, or those of several batch sizes; and what the user's code raised."""
    phases.begin("evaluate")
    sizes, seconds = request.eval_batch_sizes, request.evaluation_seconds
    is_alone = request.num_processes == 1  # else others would wait for the one that ended
    try:
        with no_longer_than(LONGEST_EVALUATION * seconds + GRACE_SECONDS) if is_alone else nullcontext():
            if not sizes:
                return evaluate(trainer, seconds if is_alone else math.inf), (), None
            return None, evaluate_in_turns(trainer, sizes, seconds, phases.cut, device.is_out_of_memory), None
    except Exception as error:  # (the user's evaluation is not what is tuned)
        if device.is_out_of_memory(error) or is_killed_worker(error):
            raise
        return None, (), said(error)


def _built(request: TrialRequest, directory: Path) -> tuple[Trainer, float]:
    """The user's Trainer, and the seconds that it took to build.

    Raises:
        NotReachedError: it has another value of a knob than the candidate.
    """
    begun = time.perf_counter()
    args = training_arguments(request.arguments, directory, request.device)
    set_seed(args.seed)  # a model that starts from random weights has the same in every process
    asked = asked_for(args)
    trainer = build_trainer(request.workload, args, request.attn_implementation)
    refuse_what_did_not_reach(trainer, asked, request.candidate.settings)
    seconds = time.perf_counter() - begun
    if request.without_dropout:
        without_dropout(trainer)
    return trainer, seconds


def measure(
    request: TrialRequest, directory: Path, device: TrainingDevice, heartbeat: HeartbeatFile, start_seconds: float
) -> Measurement:
    """Run one trial in this process.

    Args:
        request: what was asked.
        directory: the trial's folder.
        device: what trains.
        heartbeat: told of every phase and step.
        start_seconds: from the request to the entry of this process.

    Raises:
        WorkloadError: nothing could be measured. What the user's code raises goes through.
    """
    phases = Phases(device, heartbeat)
    phases.begin("build")
    if request.memory_limit_bytes is not None:
        device.cap(request.memory_limit_bytes)
    trainer, build_seconds = _built(request, directory)
    total = sum_over_processes(trainer.args.device) if request.num_processes > 1 else alone
    meter = StepMeter(device, request.num_processes, total)
    phases.begin("train")
    turns = _turns(request, directory, total)
    first_gradient = keep_first_gradient(trainer, total)
    session = _session(trainer, request, meter, turns, total, phases)
    _train(trainer, request, session)
    telemetry = device.telemetry()
    row_contents = contents_digest(trainer)
    has_evaluation = request.evaluate and trainer.eval_dataset is not None
    evaluation, evaluations, evaluation_error = (
        _evaluate(trainer, request, device, phases) if has_evaluation else (None, (), None)
    )
    checkpoint_error = _save(trainer, device, phases, total) if request.save_checkpoint else None
    phases.end()
    return Measurement(
        steps=meter.steps(),
        num_warmup_steps=_num_warmup_steps(request, session),
        memory=phases.memory(),
        evaluation=evaluation,
        evaluations=evaluations,
        evaluation_error=evaluation_error,
        checkpoint_error=checkpoint_error,
        start_seconds=start_seconds,
        build_seconds=build_seconds,
        worst_batch_ran=session.worst_batch_ran,
        num_trainable_parameters=_num_trainable(trainer),
        telemetry=telemetry,
        first_gradient=first_gradient.sketch,
        first_rows=session.first_rows,
        row_contents=row_contents,
        num_steps_inside=meter.num_steps_inside,
        knows_samples=meter.knows_samples,
        token_share=meter.token_share,
        learning_rates=_learning_rates(trainer, meter),
        stopped_because=session.stopped_because or "training_ended",
        slices=tuple(turns.slices) if turns is not None else (),
        stretches=session.stretches,
    )


def _num_warmup_steps(request: TrialRequest, session: Session) -> int:
    """In a heat what it says, or slices would not be whole; else what is seen."""
    if request.turns is not None:
        return min(request.turns.warmup_steps, len(session.meter.step_seconds))
    return session.num_skipped + num_warmup_steps(session.undisturbed_seconds()[session.num_skipped :])
