"""What one trial asks of the Trainer while it trains: worst batch first, then measured steps until enough is seen."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch

from perftune.measuring.collective import SumOverProcesses, alone
from perftune.measuring.meter import StepMeter
from perftune.measuring.stopping import stop_reason
from perftune.records.trial import TrialRequest
from perftune.workloads.entry import DivergedError

NUM_WORST_STEPS = 2
"""The optimizer's state is made in the first step, so memory is at its peak in the second."""


class Session:
    """The state of one trial inside the training loop."""

    def __init__(
        self,
        request: TrialRequest,
        meter: StepMeter,
        worst_micro_batch: Any,
        on_step: Callable[[int, float | None], None],
        on_worst_batch_done: Callable[[], None],
        total: SumOverProcesses = alone,
    ) -> None:
        """
        Args:
            request: what was asked.
            meter: takes the times.
            worst_micro_batch: the heaviest micro-batch, collated; None when it is not to be run.
            on_step: called after every optimizer step with the number of measured steps and the last one's seconds.
            on_worst_batch_done: called once the worst batch has been trained on.
            total: sums over all processes of the trial.
        """
        self.meter = meter
        self.stopped_because: str | None = None
        self.grad_norm: Any = None
        self._request = request
        self._worst = worst_micro_batch
        self._worst_steps_left = NUM_WORST_STEPS if worst_micro_batch is not None else 0
        self._on_step = on_step
        self._on_worst_batch_done = on_worst_batch_done
        self._total = total

    @property
    def in_worst_batch(self) -> bool:
        """Whether the current optimizer step is one of the worst batch."""
        return self._worst_steps_left > 0

    def worst_batches(self, num_batches: int) -> list[Any]:
        """One optimizer step of nothing but the heaviest micro-batch."""
        return [_copy(self._worst) for _ in range(num_batches)]

    def step_ended(self) -> bool:
        """Close an optimizer step.

        Returns:
            Whether training should stop.

        Raises:
            DivergedError: the loss is NaN or infinite.
        """
        if self.in_worst_batch:
            self._worst_steps_left -= 1
            if not self._worst_steps_left:
                self._worst = None
                self._on_worst_batch_done()
            self._on_step(0, None)
            return False
        loss = self.meter.end_step(self.grad_norm)
        seconds = self.meter.step_seconds
        if not math.isfinite(loss):
            raise DivergedError(f"the loss became {loss} in optimizer step {len(seconds)}")
        self._on_step(len(seconds), seconds[-1])
        self.stopped_because = self._agree(stop_reason(self._request.stop, seconds, self._request.exact_steps))
        return self.stopped_because is not None

    def _agree(self, reason: str | None) -> str | None:
        """All processes stop in the same step: the one that stops first decides."""
        (num_stopping,) = self._total((1.0 if reason else 0.0,))
        return reason or ("interval" if num_stopping else None)


def _copy(batch: Any) -> Any:
    """A micro-batch of its own memory: in a real step all micro-batches are held at once."""
    twin = copy.copy(batch)
    for key, value in batch.items():
        if isinstance(value, torch.Tensor):
            twin[key] = value.clone()
    return twin
