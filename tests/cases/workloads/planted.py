"""Workloads that train something else in a trial than the user does, each in a way of its own."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from made import Rows, Stream, bert, class_row, llama, numbers, pad, text_row
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, Sampler
from transformers import Trainer, TrainerCallback, TrainingArguments


def plain(args: TrainingArguments, cls: type[Trainer] = Trainer, **options: Any) -> Trainer:
    return cls(bert(), args, train_dataset=options.pop("train_dataset", Rows(class_row)), **options)


def build_sets_micro_batch(args: TrainingArguments) -> Trainer:
    args.per_device_train_batch_size = 4
    return plain(args)


def build_sets_accumulation(args: TrainingArguments) -> Trainer:
    args.gradient_accumulation_steps = 1
    return plain(args)


def build_makes_its_own_arguments(args: TrainingArguments) -> Trainer:
    return plain(TrainingArguments(output_dir=args.output_dir, use_cpu=True, max_steps=50, report_to=[]))


def build_copies_and_drops_precision(args: TrainingArguments) -> Trainer:
    own = copy.copy(args)
    own.bf16 = False
    return plain(own)


def build_sets_optimizer(args: TrainingArguments) -> Trainer:
    args.optim = "adafactor"
    return plain(args)


def build_lets_the_batch_be_found(args: TrainingArguments) -> Trainer:
    args.auto_find_batch_size = True
    return plain(args)


def build_changes_arguments_afterwards(args: TrainingArguments) -> Trainer:
    trainer = plain(args)
    trainer.args.gradient_accumulation_steps = 1
    return trainer


class Fixed(Trainer):
    def get_train_dataloader(self) -> Any:
        return DataLoader(self.train_dataset, 4, shuffle=True, collate_fn=self.data_collator)


def loader_ignores_micro_batch(args: TrainingArguments) -> Trainer:
    return plain(args, Fixed)


class FixedBatches(Trainer):
    def get_train_dataloader(self) -> Any:
        own = BatchSampler(RandomSampler(self.train_dataset), 4, drop_last=True)
        return DataLoader(self.train_dataset, batch_sampler=own, collate_fn=self.data_collator)


def batch_sampler_of_fixed_size(args: TrainingArguments) -> Trainer:
    return plain(args, FixedBatches)


class DropsSamples(Trainer):
    """Leaves the short ones out when the micro-batch is small."""

    def get_train_dataloader(self) -> Any:
        kept = [index for index in range(len(self.train_dataset)) if self.args.train_batch_size > 4 or index % 2]
        return DataLoader(
            self.train_dataset, self.args.train_batch_size, sampler=kept, collate_fn=self.data_collator
        )  # fmt: skip


def samples_are_left_out(args: TrainingArguments) -> Trainer:
    return plain(args, DropsSamples)


class Strided(Sampler):
    """Lays batches across the data, one row from each part: who is drawn first depends on the size."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        parts = self.count // self.size
        return (part + parts * place for part in range(parts) for place in range(self.size))


class Strides(Trainer):
    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return Strided(len(self.train_dataset), self.args.train_batch_size)


def sampler_depends_on_micro_batch(args: TrainingArguments) -> Trainer:
    return plain(args, Strides)


def rows_depend_on_micro_batch(args: TrainingArguments) -> Trainer:
    """Negatives are drawn beforehand, from batches of the micro-batch's size."""
    size = args.per_device_train_batch_size
    rows = [{**class_row(i), "input_ids": [*numbers(i, 5), 3 + i // size % 32]} for i in range(96)]
    return plain(args, train_dataset=rows)


class Undivided(Trainer):
    """Forgets the accumulation."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        model.train()
        loss = model(**self._prepare_inputs(inputs)).loss
        self.accelerator.backward(loss)
        return loss.detach() / self.args.gradient_accumulation_steps


def step_forgets_accumulation(args: TrainingArguments) -> Trainer:
    return plain(args, Undivided)


class DividedTwice(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**inputs)
        loss = outputs.loss / self.args.gradient_accumulation_steps
        return (loss, outputs) if return_outputs else loss


def loss_is_divided_twice(args: TrainingArguments) -> Trainer:
    return plain(args, DividedTwice)


class OneOnly(Trainer):
    """Throws the gradient of all micro-batches but the last away."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        model.zero_grad()
        return super().training_step(model, inputs, num_items_in_batch)


def step_keeps_the_last_micro_batch(args: TrainingArguments) -> Trainer:
    return plain(args, OneOnly)


class Steps(Trainer):
    """Lets its optimizer step in every micro-batch."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.optimizer.optimizer.step()
        return loss


def step_in_every_micro_batch(args: TrainingArguments) -> Trainer:
    return plain(args, Steps)


class Summed(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**inputs)
        loss = outputs.loss * len(inputs["labels"])
        return (loss, outputs) if return_outputs else loss


def loss_is_summed(args: TrainingArguments) -> Trainer:
    return plain(args, Summed)


class Spread(Trainer):
    """Pushes the samples of a micro-batch apart."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**inputs)
        loss = outputs.loss + torch.logsumexp((outputs.logits @ outputs.logits.T).flatten(), 0)
        return (loss, outputs) if return_outputs else loss


def samples_are_compared(args: TrainingArguments) -> Trainer:
    return plain(args, Spread)


class EveryWorkerAll(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        return (text_row(index) for index in range(400))


def stream_repeats_with_workers(args: TrainingArguments) -> Trainer:
    return Trainer(llama(), args, train_dataset=EveryWorkerAll(), data_collator=pad)


class OwnOptimizer(Trainer):
    def create_optimizer(self, model: Any = None) -> Any:
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.args.learning_rate)
        return self.optimizer


def optimizer_is_never_read(args: TrainingArguments) -> Trainer:
    return plain(args, OwnOptimizer)


def weights_are_half(args: TrainingArguments) -> Trainer:
    return Trainer(bert().to(torch.float16), args, train_dataset=Rows(class_row))


class Changes(TrainerCallback):
    """Sets the accumulation once training begins."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        args.gradient_accumulation_steps = 1


def callback_changes_arguments(args: TrainingArguments) -> Trainer:
    return plain(args, callbacks=[Changes()])


class Halves(TrainerCallback):
    """Sets the learning rate anew."""

    def on_step_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * args.per_device_train_batch_size


def callback_sets_learning_rate(args: TrainingArguments) -> Trainer:
    return plain(args, callbacks=[Halves()])


class Grows(TrainerCallback):
    """Accumulates more as training goes on."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        args.gradient_accumulation_steps *= 2


def callback_grows_the_batch(args: TrainingArguments) -> Trainer:
    return plain(args, callbacks=[Grows()])


class ByMicroStep(Trainer):
    """Counts micro-batches where it means steps: the body is frozen for the first eight."""

    seen = 0

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        model.bert.requires_grad_(self.seen >= 3)
        self.seen += 1
        return super().training_step(model, inputs, num_items_in_batch)


def freezes_by_micro_batch(args: TrainingArguments) -> Trainer:
    return plain(args, ByMicroStep)


class Rate(Trainer):
    """Scales the loss by how many micro-batches have been, as a warm-up of its own."""

    seen = 0

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**inputs)
        self.seen += 1
        loss = outputs.loss * min(1.0, self.seen / 8)
        return (loss, outputs) if return_outputs else loss


def learning_rate_by_micro_batch(args: TrainingArguments) -> Trainer:
    return plain(args, Rate)


class LearnsMore(Trainer):
    """The learning rate follows the micro-batch, as some recipes have it."""

    def create_optimizer(self, model: Any = None) -> Any:
        self.args.learning_rate *= self.args.per_device_train_batch_size
        return super().create_optimizer()


def learning_rate_by_batch_size(args: TrainingArguments) -> Trainer:
    return plain(args, LearnsMore)


class Truncates(Trainer):
    """Cuts samples shorter where many are in a micro-batch."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        keep = 6 if len(inputs["labels"]) > 4 else 3
        cut = {name: value[:, :keep] if value.dim() == 2 else value for name, value in inputs.items()}
        return super().training_step(model, cut, num_items_in_batch)


def samples_are_cut(args: TrainingArguments) -> Trainer:
    return plain(args, Truncates)


class CutsLater(Trainer):
    """The same, in the loss."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        keep = 6 if len(inputs["labels"]) > 4 else 3
        cut = {name: value[:, :keep] if value.dim() == 2 else value for name, value in inputs.items()}
        return super().compute_loss(model, cut, return_outputs, **kwargs)


def samples_are_cut_in_the_loss(args: TrainingArguments) -> Trainer:
    return plain(args, CutsLater)


class LastOnly(Trainer):
    """Trains on a part of each micro-batch."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**{name: value[:2] for name, value in inputs.items()})
        return (outputs.loss, outputs) if return_outputs else outputs.loss


def samples_are_dropped_in_the_step(args: TrainingArguments) -> Trainer:
    return plain(args, LastOnly)


def streamed_batches(args: TrainingArguments) -> Trainer:
    """The data set gives whole batches of four, which no sampler draws."""

    class Batches(IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            rows = iter(Stream())
            while four := [row for row, _ in zip(rows, range(4), strict=False)]:
                yield pad(four)

    class Whole(Trainer):
        def get_train_dataloader(self) -> Any:
            return DataLoader(self.train_dataset, batch_size=None)

    return Whole(llama(), args, train_dataset=Batches())
