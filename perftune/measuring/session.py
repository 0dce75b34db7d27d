"""What one trial asks of the Trainer while it trains: measured steps until enough is seen, then the worst batch."""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from statistics import mean, median
from typing import Any

from perftune.devices.disturbance import DisturbanceCounters
from perftune.measuring.collective import SumOverProcesses, alone
from perftune.measuring.meter import StepMeter
from perftune.measuring.stopping import CANNOT_WIN, HEAT_ENDED, stop_reason
from perftune.measuring.stretches import Stretches
from perftune.measuring.turns import Turns
from perftune.records.trial import Slice, TrialRequest
from perftune.workloads.entry import DivergedError, GaveUpError
from perftune.workloads.worst_batch import WorstBatch

MOST_SKIPPED = 24
"""A gradient scaler begins with a factor of 2**16 and halves it in each step that it skips (torch.amp.GradScaler):
after so many it is far below 1, and what still overflows does so without it."""
WORST_TRIES = 4
"""The heaviest batch may overflow where the others do not; it is tried again with the smaller factor."""


class Session:
    """The state of one trial inside the training loop.

    The worst batch comes last: the steps that are measured are those of the user's own training from its first step on,
    and a trial that has been given up, or has no time left, never comes to it.
    """

    def __init__(
        self,
        request: TrialRequest,
        meter: StepMeter,
        on_step: Callable[[int, float], None],
        *,
        worst_batch: WorstBatch | None = None,
        on_worst_batch: Callable[[], None] = lambda: None,
        turns: Turns | None = None,
        total: SumOverProcesses = alone,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            request: what was asked.
            meter: takes the times.
            on_step: called after every measured step with the number of them and the last one's seconds.
            worst_batch: the heaviest micro-batch; None when it is not to be run.
            on_worst_batch: called before the worst batch is trained on.
            turns: of a heat.
            total: sums over all processes of the trial.
            clock: monotonic seconds, the same clock as that of the request.
        """
        self.meter = meter
        self.stopped_because: str | None = None
        self.grad_norm: Any = None
        self.in_worst_batch = False
        """Whether the next or current optimizer step is that of the worst batch."""
        self.worst_batch_ran = False
        """With an optimizer step at its end, by an optimizer that has its state."""
        self.num_skipped = 0
        """Steps from the first on in which the gradient scaler left the optimizer out."""
        self._num_worst_tries = 0
        self.first_rows: str | None = None
        """A digest of the rows that the first optimizer step drew, in whatever order; None where that is not known."""
        self._rows_are_known: bool | None = None
        self._request, self._on_step, self._on_worst_batch = request, on_step, on_worst_batch
        self._worst_batch, self._turns, self._total, self._clock = worst_batch, turns, total, clock
        self._stretches = Stretches(DisturbanceCounters(device=request.device)) if turns is None else None
        self._begun = clock() if request.requested_monotonic_seconds is None else request.requested_monotonic_seconds

    @property
    def stretches(self) -> tuple[Slice, ...]:
        """Of a trial that runs by itself, with what disturbed them."""
        return tuple(self._stretches.closed) if self._stretches is not None else ()

    def undisturbed_seconds(self) -> list[float]:
        """Of every step so far, less what disturbed it; in a heat as they are."""
        seconds = self.meter.step_seconds
        return seconds if self._stretches is None else self._stretches.undisturbed(seconds)

    def rows_drawn(self, drawn: Sequence[tuple[Any, ...] | None]) -> None:
        """The data loader has given the micro-batches of a step, of these rows."""
        if self._rows_are_known is None:
            self._rows_are_known = bool(drawn) and None not in drawn and self._request.num_processes == 1
            if self._rows_are_known:
                names = sorted({repr(row) for rows in drawn for row in rows or ()})
                self.first_rows = hashlib.blake2b("\n".join(names).encode(), digest_size=8).hexdigest()

    def worst_batches(self, num_batches: int) -> list[Any]:
        """One optimizer step of nothing but the heaviest micro-batch."""
        assert self._worst_batch is not None
        return self._worst_batch.batches(num_batches)

    def micro_step_begins(self) -> None:
        """Forward begins.

        Raises:
            GaveUpError: it is the first step, which has taken too long already.
        """
        most_seconds = self._request.stop.give_up_first_step_seconds
        if self._stretches is not None and not self.meter.step_seconds:
            if not self.meter.progress()[1]:
                self._stretches.begin()
            elif most_seconds is not None:
                self._check_first_step(self._stretches, most_seconds)
        self.meter.micro_step_begins()

    def _check_first_step(self, stretches: Stretches, most_seconds: float) -> None:
        seconds, num_done, num_batches = self.meter.progress()
        if seconds > most_seconds and (own_seconds := stretches.undisturbed_so_far(seconds)) > most_seconds:
            raise GaveUpError(
                f"given up in the first optimizer step: {num_done} of {num_batches} micro-batches took "
                f"{own_seconds:.1f} s, less what they waited for a core, and with more than {most_seconds:.1f} s it "
                "cannot win",
                own_seconds * num_batches / max(1, num_done),
            )

    def step_ended(self, is_last: bool = False, was_skipped: bool = False) -> bool:
        """Close an optimizer step.

        Args:
            is_last: training ends here in any case, by the user's own schedule or callback.
            was_skipped: the gradient scaler left the optimizer out, as the gradients were no numbers.

        Returns:
            Whether training should stop.

        Raises:
            DivergedError: the loss is NaN or infinite, or the optimizer is left out in every step.
        """
        if self.in_worst_batch:
            return self._worst_step_ended(was_skipped) or is_last
        loss = self.meter.end_step(self.grad_norm)
        seconds = self.meter.step_seconds
        if not math.isfinite(loss):
            raise DivergedError(f"the loss became {loss} in optimizer step {len(seconds)}")
        self._count_skipped(len(seconds), was_skipped)
        self._on_step(len(seconds), seconds[-1])
        self.stopped_because = "training_ended" if is_last else self._reason(seconds)
        if is_last or self.stopped_because is None:
            return is_last
        self.in_worst_batch = self._goes_on_to_worst_batch(seconds)
        return not self.in_worst_batch

    def _worst_step_ended(self, was_skipped: bool) -> bool:
        """Whether it is over: trained on to the end, or given up."""
        self._num_worst_tries += 1
        self.worst_batch_ran = not was_skipped
        return self.worst_batch_ran or self._num_worst_tries == WORST_TRIES

    def _count_skipped(self, num_steps: int, was_skipped: bool) -> None:
        if was_skipped and self.num_skipped == num_steps - 1:
            self.num_skipped = num_steps
        if self.num_skipped == MOST_SKIPPED:
            raise DivergedError(
                f"the gradient scaler left out all of the first {MOST_SKIPPED} optimizer steps: the gradients are no "
                "finite numbers in fp16, however small the loss is scaled"
            )

    def _reason(self, seconds: list[float]) -> str | None:
        if self._turns is not None:
            return None if self._turns.goes_on(seconds) else HEAT_ENDED
        assert self._stretches is not None
        self._stretches.step_ended(seconds)
        rule, exact_steps, elapsed = self._request.stop, self._request.exact_steps, self._clock() - self._begun
        quiet = self.undisturbed_seconds()
        return self._agree(stop_reason(rule, seconds, exact_steps, elapsed, quiet, self.num_skipped))

    def _agree(self, reason: str | None) -> str | None:
        """All processes stop in the same step: the one that stops first decides."""
        (num_stopping,) = self._total((1.0 if reason else 0.0,))
        return reason or ("interval" if num_stopping else None)

    def _goes_on_to_worst_batch(self, seconds: list[float]) -> bool:
        """All processes do, or none; not before the optimizer has its state, or the peak would be too low."""
        has_state = self.num_skipped < len(seconds)
        is_wanted = self._turns is None or self._turns.wants_worst_batch
        if self._worst_batch is None or not has_state or not is_wanted:
            return False
        (num_against,) = self._total((float(self.stopped_because == CANNOT_WIN or self._has_no_time(seconds)),))
        if num_against:
            return False
        self._on_worst_batch()
        return True

    def _has_no_time(self, seconds: list[float]) -> bool:
        most_seconds = self._request.stop.max_wall_seconds
        if most_seconds is None or self._turns is not None:
            return False
        assert self._worst_batch is not None
        times_as_heavy = self._worst_batch.weight(mean(self.meter.steps().num_padded_tokens))
        return self._clock() - self._begun + median(seconds) * times_as_heavy > most_seconds
