"""What watching costs: one training that is watched and left alone in turns, compared with the turn beside it.

pytest benchmarks/test_metering.py --benchmark-enable -s
"""

import time
from contextlib import ExitStack
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from perftune.devices import training_device
from perftune.measuring.heartbeat import HeartbeatFile
from perftune.measuring.meter import StepMeter
from perftune.measuring.probed_trainer import watch
from perftune.measuring.session import Session
from perftune.records.candidate import Candidate
from perftune.records.trial import Purpose, StopRule, TrialRequest, WorkloadSource
from perftune.statistics import median_interval

NUM_PAIRS, NUM_WARMUP_STEPS = 120, 20
STEPS_OF_A_TURN = 10
"""The first step of a turn is left out: putting the watch on costs it 1 ms, once in a trial and not in every step."""
STEPS_OF_A_TRIAL = 24
"""As many as a race trial measures at most; deciding when to stop costs more the more steps there are."""
NUM_STEPS = 2 * NUM_PAIRS * STEPS_OF_A_TURN + NUM_WARMUP_STEPS
WIDTH = 1500
"""A step of about 20 ms on two cores."""


class Model(torch.nn.Module):
    """Three square layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH) for _ in range(3)))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """A loss of the mean square."""
        return {"loss": self.layers(x).square().mean()}


class InTurns(TrainerCallback):
    """Puts the watch on and takes it off between steps, and notes how long the steps of each turn took."""

    def __init__(self, folder: Path) -> None:
        self.seconds: dict[bool, list[float]] = {True: [], False: []}
        self._folder, self._watching, self._num_steps = folder, ExitStack(), 0
        self._is_watched, self._begun = False, 0.0
        self._of_turn: list[float] = []
        self.trainer: Any = None

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the step; watch the next, or not. Steps count from the first that is timed, turns as well."""
        turn, step = divmod(self._num_steps - NUM_WARMUP_STEPS, STEPS_OF_A_TURN)
        if turn >= 0 and step > 0:
            self._of_turn.append(time.perf_counter() - self._begun)
            if step == STEPS_OF_A_TURN - 1:
                self.seconds[self._is_watched].append(mean(self._of_turn))
                self._of_turn = []
        self._num_steps += 1
        wanted = (self._num_steps - NUM_WARMUP_STEPS) // STEPS_OF_A_TURN % 2 == 0
        if wanted != self._is_watched:
            self._put_on() if wanted else self._watching.close()
            self._is_watched = wanted
        self._begun = time.perf_counter()

    def _put_on(self) -> None:
        trainer, own = self.trainer, type(self.trainer)
        if not hasattr(trainer, "perftune_session") or len(self._meter.step_seconds) >= STEPS_OF_A_TRIAL:
            self._session = self._new_session()
        callbacks = list(trainer.callback_handler.callbacks)
        watch(trainer, self._session)
        # Its own callback comes last, so that what the watch does at the end of a step is in the step.
        trainer.callback_handler.callbacks = [c for c in trainer.callback_handler.callbacks if c is not self] + [self]
        self._watching.callback(setattr, trainer.callback_handler, "callbacks", callbacks)
        self._watching.callback(setattr, trainer, "__class__", own)
        self._watching.enter_context(self._meter.observe_backward())

    def _new_session(self) -> Session:
        device = training_device("cpu")
        self._meter = StepMeter(device)
        beat = HeartbeatFile(self._folder / "heartbeat.json", device.used_bytes)
        source = WorkloadSource(build="x.py:build", working_directory=".")
        request = TrialRequest(
            number=1, purpose=Purpose.RACE, candidate=Candidate(settings={}), workload=source, arguments={},
            stop=StopRule(min_steps=1000, max_steps=1000, max_seconds=1e9, relative_half_width=0.0),
        )  # fmt: skip
        on_step = lambda num_steps, seconds: beat.beat("train", num_steps, seconds)  # noqa: E731 (as in measure.py)
        return Session(request, self._meter, on_step)


def train(folder: Path) -> InTurns:
    torch.manual_seed(0)
    args = TrainingArguments(
        output_dir=str(folder), max_steps=NUM_STEPS, per_device_train_batch_size=64,
        use_cpu=True, report_to=[], disable_tqdm=True, logging_strategy="no", save_strategy="no",
    )  # fmt: skip
    # One epoch for all steps: the start of an epoch costs a step more, and every fourth would be one.
    data = [{"x": torch.randn(WIDTH)} for _ in range(256)] * (NUM_STEPS // 4 + 1)
    in_turns = InTurns(folder)
    in_turns.trainer = Trainer(model=Model(), args=args, train_dataset=data, callbacks=[in_turns])
    in_turns.trainer.train()
    return in_turns


def test_metering_costs_little(benchmark: Any, tmp_path: Path) -> None:
    found = benchmark.pedantic(train, args=(tmp_path,), rounds=1, iterations=1)
    watched, bare = found.seconds[True], found.seconds[False]
    assert len(watched) == len(bare) == NUM_PAIRS
    overhead, low, high = (ratio - 1 for ratio in median_interval([a / b for a, b in zip(watched, bare, strict=True)]))
    benchmark.extra_info.update(overhead=overhead, low=low, high=high, bare_step_seconds=median(bare))
    print(f"metering: {overhead:+.2%} ({low:+.2%} to {high:+.2%}) of a step of {median(bare) * 1e3:.1f} ms")
    assert low < 0.01
