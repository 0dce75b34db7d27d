"""The moments of an optimizer step to its raw figures: where the time went and what was trained on. Child side."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from perftune.measuring.collective import SumOverProcesses, alone
from perftune.records.trial import Steps
from perftune.workloads.batch_size import BatchSize, batch_size, tensors


class StepClock(Protocol):
    """The part of a training device that the meter needs."""

    def synchronize(self) -> None:
        """Wait until the device has done everything that it was given."""

    def mark(self) -> Any:
        """A moment in the work of the device."""

    def seconds_between(self, start: Any, end: Any) -> float:
        """Seconds from one moment to a later one, both passed."""


class StepMeter:
    """Takes the time of each part of each optimizer step.

    A step runs from the request for its first micro-batch to the zeroed gradients. Its own arithmetic is done
    between steps, so that it is in no figure. Times are those of this process; samples, tokens and the loss are
    those of all processes.
    """

    def __init__(self, clock: StepClock, num_processes: int = 1, total: SumOverProcesses = alone) -> None:
        self._clock = clock
        self._num_processes = num_processes
        self._total = total
        self._rows: list[dict[str, float | int | None]] = []
        self._depth = 0
        self.knows_samples = False
        """Whether the samples of the last step were counted where they were drawn, or where the Trainer made them."""
        self.token_share: float | None = None
        """Tokens that the model was given in the first step, over those that the loader gave; None without tokens."""
        self.first_rates: tuple[Any, ...] = ()
        """Learning rates of the optimizer's groups in its first step."""
        self._given: list[BatchSize] = []
        self._model_hook: RemovableHandle | None = None
        self._num_steps_inside: list[int] = []
        self.begin_step()

    def begin_step(self) -> None:
        """The first micro-batch is asked for."""
        self._start = time.perf_counter()
        self._data_seconds = 0.0
        self._batches: list[BatchSize] = []
        self._forward: list[tuple[Any, Any]] = []
        self._backward: list[tuple[Any, Any]] = []
        self._losses: list[torch.Tensor] = []
        self._opened: Any = None
        self._made: list[BatchSize] | None = None
        self._inside = 0

    def data_ready(self, batches: Sequence[Any], num_drawn: Sequence[int | None] = ()) -> None:
        """All micro-batches of the step are here.

        Args:
            batches: as the loader gave them.
            num_drawn: samples of each, as drawn; None or nothing where only the batch itself tells.
        """
        self._data_seconds = time.perf_counter() - self._start
        sizes = [batch_size(batch) for batch in batches]
        drawn = [*num_drawn, *[None] * (len(sizes) - len(num_drawn))]
        self._batches = [s if n is None else s._replace(num_samples=n) for s, n in zip(sizes, drawn, strict=True)]
        self.knows_samples = all(number is not None for number in drawn)
        if batches and all(next(tensors(batch), None) is None for batch in batches):
            self._made = []

    def loss_begins(self, inputs: Any) -> None:
        """A loss is computed of these inputs, which the Trainer has made itself where the loader gave no tensors."""
        if self._opened is not None and self._made is not None:
            self._made.append(batch_size(inputs))

    def micro_step_begins(self) -> None:
        """Forward begins."""
        self._opened = self._clock.mark()

    def _optimizer_steps(self, optimizer: Any, *_: Any) -> None:
        if self._opened is not None:
            self._inside += 1
        elif not self._rows:
            self.first_rates = tuple(group["lr"] for group in optimizer.param_groups if group.get("lr") is not None)

    def _model_called(self, _: torch.nn.Module, args: Any, kwargs: Any) -> None:
        if self._opened is not None:
            self._given.append(batch_size((args, kwargs)))

    def _end_first_step(self, num_tokens: float) -> None:
        """The model is not watched any longer."""
        seen = sum(size.num_tokens for size in self._given)
        self.token_share = seen / num_tokens if num_tokens else None
        self._given = []
        if self._model_hook is not None:
            self._model_hook.remove()

    @property
    def num_steps_inside(self) -> int:
        """Steps that optimizers made within micro-batches, in the first optimizer step of the Trainer."""
        return self._num_steps_inside[0] if self._num_steps_inside else 0

    def micro_step_ends(self, loss: Any) -> None:
        """Backward is done; the loss is kept on its device."""
        if self._opened is not None:
            self._forward.append((self._opened, self._clock.mark()))
            self._opened = None
        if isinstance(loss, torch.Tensor):
            self._losses.append(loss.detach())

    def progress(self) -> tuple[float, int, int]:
        """Of the step under way: seconds so far, micro-batches done, micro-batches in all."""
        return time.perf_counter() - self._start, len(self._losses), len(self._batches)

    @contextmanager
    def observe_backward(self, model: torch.nn.Module | None = None) -> Iterator[None]:
        """See every backward, whoever calls it: ``Tensor.backward`` looks the name up in ``torch.autograd``.

        And every step of an optimizer, as one of the user's own may make it in each micro-batch; and what the model is
        given in the first step, as the user's code may have made less of it.
        """
        original = torch.autograd.backward

        def observed(*args: Any, **kwargs: Any) -> None:
            if self._depth or self._opened is None:
                return original(*args, **kwargs)
            start = self._clock.mark()
            self._forward.append((self._opened, start))
            self._depth += 1
            try:
                return original(*args, **kwargs)
            finally:
                self._depth -= 1
                self._opened = self._clock.mark()
                self._backward.append((start, self._opened))

        torch.autograd.backward = observed
        hooks = [register_optimizer_step_pre_hook(self._optimizer_steps)]
        if model is not None:
            self._model_hook = model.register_forward_pre_hook(self._model_called, with_kwargs=True)
            hooks.append(self._model_hook)
        try:
            yield
        finally:
            torch.autograd.backward = original
            for hook in hooks:
                hook.remove()

    def end_step(self, grad_norm: Any) -> float:
        """The gradients are zeroed: close the step; its loss, summed over micro-batches as the Trainer logs it."""
        end = self._clock.mark()
        self._clock.synchronize()
        step_seconds = time.perf_counter() - self._start
        last = self._forward[-1][1] if self._forward else end  # what follows backward in a micro-step is forward's
        if self._made:
            self._batches, self.knows_samples = self._made, True
        self._num_steps_inside.append(self._inside)
        loss, num_samples, num_tokens, num_padded_tokens = self._totals()
        if not self._rows:
            self._end_first_step(sum(batch.num_tokens for batch in self._batches))
        self._rows.append(
            {
                "step_seconds": step_seconds,
                "data_seconds": self._data_seconds,
                "forward_seconds": sum(self._clock.seconds_between(*span) for span in self._forward),
                "backward_seconds": sum(self._clock.seconds_between(*span) for span in self._backward),
                "optimizer_seconds": self._clock.seconds_between(last, end),
                "num_samples": int(num_samples),
                "num_tokens": int(num_tokens),
                "num_padded_tokens": int(num_padded_tokens),
                "loss": loss,
                "grad_norm": None if grad_norm is None else float(grad_norm),
            }
        )
        self._batches, self._losses = [], []
        return loss

    def _totals(self) -> Sequence[float]:
        """Loss (the mean over processes, as the Trainer logs it), samples, tokens and padded tokens of the step."""
        loss = float(torch.stack(self._losses).double().sum()) if self._losses else 0.0
        return self._total(
            (
                loss / self._num_processes,
                sum(batch.num_samples for batch in self._batches),
                sum(batch.num_tokens for batch in self._batches),
                sum(batch.num_padded_tokens for batch in self._batches),
            )
        )

    @property
    def step_seconds(self) -> list[float]:
        """Seconds of every closed step."""
        return [float(row["step_seconds"] or 0.0) for row in self._rows]

    def steps(self) -> Steps:
        """The raw values of every closed step."""
        return Steps.model_validate({name: [row[name] for row in self._rows] for name in Steps.model_fields})
