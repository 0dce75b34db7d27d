"""Training steps, optimizers, schedules and callbacks of people's own."""

import copy
import time
from typing import Any

import torch
from made import Rows, bert, class_row, image_row, llama, pad, vit
from torch import nn
from torch.nn import functional
from transformers import Trainer, TrainerCallback, TrainingArguments


class OwnStep(Trainer):
    """Divides by the accumulation and calls backward itself."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        model.train()
        loss = model(**self._prepare_inputs(inputs)).loss / self.args.gradient_accumulation_steps
        loss.backward()
        return loss.detach()


def own_step(args: TrainingArguments) -> Trainer:
    return OwnStep(bert(), args, train_dataset=Rows(class_row))


class Clips(Trainer):
    """Clips by hand when the last micro-batch of the step is through."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        return loss


def clips_by_hand(args: TrainingArguments) -> Trainer:
    return Clips(bert(), args, train_dataset=Rows(class_row))


class Adversarial(Trainer):
    """Two optimizers; the one of the discriminator makes its step in every micro-batch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.judge = nn.Linear(16, 1)
        self.judge_optimizer = torch.optim.SGD(self.judge.parameters(), lr=0.1)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        model.train()
        hidden = model(**self._prepare_inputs(inputs), output_hidden_states=True).hidden_states[-1].mean(1)
        real, made = self.judge(torch.ones_like(hidden)), self.judge(hidden.detach())
        self.judge_optimizer.zero_grad()
        (functional.softplus(-real) + functional.softplus(made)).mean().backward()
        self.judge_optimizer.step()
        loss = functional.softplus(-self.judge(hidden)).mean() / self.args.gradient_accumulation_steps
        self.accelerator.backward(loss)
        return loss.detach()


def two_optimizers(args: TrainingArguments) -> Trainer:
    return Adversarial(vit(), args, train_dataset=Rows(image_row))


class LayerWise(Trainer):
    def create_optimizer(self, model: Any = None) -> Any:
        if self.optimizer is None:
            groups = [
                {"params": [parameter], "lr": self.args.learning_rate * (0.5 if "layer" in name else 1.0)}
                for name, parameter in self.model.named_parameters()
            ]
            self.optimizer = torch.optim.AdamW(groups)
        return self.optimizer


def own_create_optimizer(args: TrainingArguments) -> Trainer:
    return LayerWise(bert(), args, train_dataset=Rows(class_row))


class TwoRates(Trainer):
    """Makes its own groups, and the optimizer that the arguments name."""

    def create_optimizer(self, model: Any = None) -> Any:
        kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        self.optimizer = kind([{"params": list(self.model.parameters())}], **options)
        return self.optimizer


def heeds_optim(args: TrainingArguments) -> Trainer:
    return TwoRates(bert(), args, train_dataset=Rows(class_row))


class BothMade(Trainer):
    def create_optimizer_and_scheduler(self, num_training_steps: int) -> None:
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1 / (1 + step))


def own_schedule(args: TrainingArguments) -> Trainer:
    return BothMade(bert(), args, train_dataset=Rows(class_row))


def handed_optimizers(args: TrainingArguments) -> Trainer:
    model = bert()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    return Trainer(model, args, train_dataset=Rows(class_row), optimizers=(optimizer, cosine))


class Averages(TrainerCallback):
    """An exponential moving average of the weights, updated after each step."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.average = copy.deepcopy(model).requires_grad_(False)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        for kept, now in zip(self.average.parameters(), model.parameters(), strict=True):
            kept.lerp_(now.detach(), 0.01)


def moving_average(args: TrainingArguments) -> Trainer:
    return Trainer(bert(), args, train_dataset=Rows(class_row), callbacks=[Averages()])


class Thaws(TrainerCallback):
    """The body is frozen for the first two steps."""

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        model.bert.requires_grad_(state.global_step >= 2)


def thawing(args: TrainingArguments) -> Trainer:
    return Trainer(bert(), args, train_dataset=Rows(class_row), callbacks=[Thaws()])


def from_model_init(args: TrainingArguments) -> Trainer:
    return Trainer(model_init=lambda: bert(), args=args, train_dataset=Rows(class_row))


class NeverDone(Trainer):
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        while True:
            time.sleep(0.1)


def endless_evaluation(args: TrainingArguments) -> Trainer:
    return NeverDone(bert(), args, train_dataset=Rows(class_row), eval_dataset=Rows(class_row, 8))


class Older(Trainer):
    """The signature of before 4.46."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False) -> Any:
        outputs = model(**inputs)
        return (outputs.loss, outputs) if return_outputs else outputs.loss


def older_compute_loss(args: TrainingArguments) -> Trainer:
    return Older(bert(), args, train_dataset=Rows(class_row))


class OlderStep(Trainer):
    def training_step(self, model: Any, inputs: Any) -> torch.Tensor:
        return super().training_step(model, inputs)


def older_training_step(args: TrainingArguments) -> Trainer:
    return OlderStep(bert(), args, train_dataset=Rows(class_row))


class SetFitTrainer:
    """SetFit's Trainer is none of transformers, though it is called so."""

    def __init__(self, model: Any, args: Any) -> None:
        self.model, self.args = model, args

    def train(self) -> None: ...


SetFitTrainer.__name__ = SetFitTrainer.__qualname__ = "Trainer"
SetFitTrainer.__module__ = "setfit.trainer"


def setfit(args: TrainingArguments) -> Any:
    return SetFitTrainer(bert(), args)


def a_model(args: TrainingArguments) -> Any:
    return llama()


def trained_already(args: TrainingArguments) -> Any:
    trainer = Trainer(llama(), args, train_dataset=Rows(), data_collator=pad)
    return trainer.train()


def without_data(args: TrainingArguments) -> Any:
    return Trainer(llama(), args, data_collator=pad)
