"""The user's own Trainer to the same Trainer, watched: subclassed at run time, with nothing of it replaced."""

from collections.abc import Iterator
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from perftune.measuring.drawn import Drawn
from perftune.measuring.session import Session

INTEGRATIONS = "transformers.integrations"
"""Where the callbacks live that report to services; they are taken out, so that no report is sent."""
WHOLE_TRAINING = ("on_train_end", "on_save", "on_log", "on_push_begin")
"""Events that belong to a training and not to a trial: a callback may write over the model of last week in them."""


class ProbeMixin:
    """Sits before the user's class in the method resolution order; every override calls on to it."""

    perftune_session: Session
    perftune_drawn: Drawn
    perftune_may_save: bool = False

    def get_train_dataloader(self) -> Any:
        """The user's, with its sampler listened to."""
        loader = super().get_train_dataloader()  # type: ignore[misc]  # the user's class is next
        self.perftune_drawn.watch(loader)
        return loader

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """Time the wait for data, or hand out the worst batch."""
        session = self.perftune_session
        if session.in_worst_batch:
            batches = session.worst_batches(num_batches)
            return batches, self._get_num_items_in_batch(batches, device)  # type: ignore[attr-defined]  # Trainer's
        session.meter.begin_step()
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)  # type: ignore[misc]
        drawn = [self.perftune_drawn.take() for _ in batches]
        session.rows_drawn(drawn)
        session.meter.data_ready(batches, [None if rows is None else len(rows) for rows in drawn])
        return batches, num_items

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Time one forward and backward."""
        session = self.perftune_session
        session.micro_step_begins()
        loss = super().training_step(*args, **kwargs)  # type: ignore[misc]  # the user's class is next
        session.meter.micro_step_ends(loss)
        return loss

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Look at what the loss is computed of."""
        self.perftune_session.meter.loss_begins(inputs)
        return super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]  # the user's class is next

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        grad_norm = super()._get_grad_norm(*args, **kwargs)  # type: ignore[misc]  # the user's class is next
        self.perftune_session.grad_norm = grad_norm
        return grad_norm

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """A probe saves nothing and evaluates only when asked to; what it logs is for callbacks that read it."""
        control = self.control  # type: ignore[attr-defined]  # Trainer's
        control.should_save = control.should_evaluate = False
        super()._maybe_log_save_evaluate(*args, **kwargs)  # type: ignore[misc]  # the user's class is next

    def log(self, logs: dict[str, float], *_: Any, **__: Any) -> None:
        """Into the state, and nowhere else."""
        state = self.state  # type: ignore[attr-defined]  # Trainer's
        state.log_history.append({**logs, "epoch": state.epoch or 0.0, "step": state.global_step})

    def push_to_hub(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is pushed."""

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        if self.perftune_may_save:
            super()._save_checkpoint(*args, **kwargs)  # type: ignore[misc]  # the user's class is next

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        """Saved only inside the one checkpoint of the final trial."""
        if self.perftune_may_save:
            super().save_model(*args, **kwargs)  # type: ignore[misc]  # the user's class is next


class StepEnds(TrainerCallback):
    """Closes each optimizer step after the user's own callbacks."""

    def __init__(self, session: Session, accelerator: Any) -> None:
        self._session, self._accelerator = session, accelerator

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 (the signature is upstream's)
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,
        **kwargs: Any,  # noqa: ARG002
    ) -> TrainerControl:
        """Count the step, and stop once enough is seen."""
        was_skipped = bool(self._accelerator.optimizer_step_was_skipped)
        if self._session.step_ended(is_last=control.should_training_stop, was_skipped=was_skipped):
            control.should_training_stop = True
        return control


def reporting_callbacks(trainer: Trainer) -> list[TrainerCallback]:
    """Callbacks of the trainer that report to a service."""
    return [
        callback
        for callback in trainer.callback_handler.callbacks
        if any(base.__module__.startswith(INTEGRATIONS) for base in type(callback).__mro__)
    ]


def events_left_out(trainer: Trainer) -> list[str]:
    """What of the user's callbacks is not called in trials, as ``Callback.event``."""
    return [
        f"{type(callback).__name__}.{event}"
        for callback in trainer.callback_handler.callbacks
        for event in WHOLE_TRAINING
        if not type(callback).__module__.startswith("transformers.")
        and getattr(type(callback), event, None) is not getattr(TrainerCallback, event, None)
    ]


def _without_whole_training(handler: Any) -> None:
    own = handler.call_event

    def call_event(event: str, args: Any, state: Any, control: TrainerControl, **kwargs: Any) -> Any:
        return control if event in WHOLE_TRAINING else own(event, args, state, control, **kwargs)

    handler.call_event = call_event


def watch(trainer: Any, session: Session) -> None:
    """Make a Trainer a watched one, in place: its state, callbacks, collator and optimizer stay as they are."""
    for callback in reporting_callbacks(trainer):
        trainer.remove_callback(callback)
    _without_whole_training(trainer.callback_handler)
    own = type(trainer)
    trainer.__class__ = type("Probed" + own.__name__, (ProbeMixin, own), {})
    trainer.perftune_session = session
    trainer.perftune_drawn = Drawn()
    trainer.add_callback(StepEnds(session, trainer.accelerator))
