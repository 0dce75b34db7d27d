"""Where the samples of a micro-batch come from: loaders, samplers and collators of people's own."""

from typing import Any

import numpy as np
import torch
from made import Rows, bert, class_row, image_row, llama, pad, vit
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler, SequentialSampler, WeightedRandomSampler
from transformers import Trainer, TrainerCallback, TrainingArguments, default_data_collator


class TwoOfEach(Sampler):
    """Each batch has two samples of every class, whatever the micro-batch is."""

    def __init__(self, labels: list[int]) -> None:
        self.labels = np.array(labels)

    def __len__(self) -> int:
        return int(min(np.bincount(self.labels))) // 2

    def __iter__(self) -> Any:
        columns = [np.flatnonzero(self.labels == label) for label in range(4)]
        for start in range(len(self)):
            yield [int(index) for column in columns for index in column[2 * start : 2 * start + 2]]


class Balanced(Trainer):
    def get_train_dataloader(self) -> Any:
        sampler = TwoOfEach([index % 4 for index in range(96)])
        loader = DataLoader(self.train_dataset, batch_sampler=sampler, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)


def balanced(args: TrainingArguments) -> Trainer:
    return Balanced(vit(), args, train_dataset=Rows(image_row))


class OwnLoader(Trainer):
    """A loader of the user's own that follows the micro-batch."""

    def get_train_dataloader(self) -> Any:
        own = BatchSampler(SequentialSampler(self.train_dataset), self.args.train_batch_size, drop_last=True)
        loader = DataLoader(self.train_dataset, batch_sampler=own, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)


def own_loader(args: TrainingArguments) -> Trainer:
    return OwnLoader(llama(), args, train_dataset=Rows(), data_collator=pad)


class WithoutDataset(Trainer):
    def get_train_dataloader(self) -> Any:
        return DataLoader(Rows(), self.args.train_batch_size, shuffle=True, collate_fn=self.data_collator)


def without_train_dataset(args: TrainingArguments) -> Trainer:
    return WithoutDataset(llama(), args, data_collator=pad)


class Drawn(Trainer):
    """Rare classes are drawn more often."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        weights = [1.0 + 2.0 * (index % 3 == 0) for index in range(len(self.train_dataset))]
        return WeightedRandomSampler(weights, len(weights), generator=torch.Generator().manual_seed(0))


def class_balanced(args: TrainingArguments) -> Trainer:
    return Drawn(bert(), args, train_dataset=Rows(class_row))


class EasyFirst(Sampler):
    """Starts with the short ones, and takes more as training goes on."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Any:
        order = sorted(range(self.count), key=lambda index: index % 8)
        drawn = torch.Generator().manual_seed(0)
        for place in range(self.count):
            yield order[int(torch.randint(0, max(8, place), (), generator=drawn))]


class Curriculum(Trainer):
    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return EasyFirst(len(self.train_dataset))


def curriculum(args: TrainingArguments) -> Trainer:
    return Curriculum(llama(), args, train_dataset=Rows(), data_collator=pad)


def as_tuple(samples: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    batch = default_data_collator(samples)
    return batch["pixel_values"], batch["labels"]


class Tuples(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(pixel_values=inputs[0], labels=inputs[1])
        return (outputs.loss, outputs) if return_outputs else outputs.loss


def tuples(args: TrainingArguments) -> Trainer:
    args.remove_unused_columns = False
    return Tuples(vit(), args, train_dataset=Rows(image_row), data_collator=as_tuple)


def needs_two(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    if len(samples) < 2:
        raise ValueError("contrastive batches need two samples")
    batch: dict[str, torch.Tensor] = default_data_collator(samples)
    return batch


def pairs(args: TrainingArguments) -> Trainer:
    return Trainer(vit(), args, train_dataset=Rows(image_row), data_collator=needs_two)


class Tied(nn.Module):
    """Two names for one tensor, which safetensors refuses to write."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head = nn.Embedding(64, 8), nn.Linear(8, 64, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        logits = self.head(self.embedding(input_ids))
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()), logits


def tied_and_never_saved(args: TrainingArguments) -> Trainer:
    return Trainer(Tied(), args, train_dataset=Rows(), data_collator=pad)


class ReadsTheLog(TrainerCallback):
    """Stops training when the loss that was logged last explodes."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if state.global_step > args.logging_steps and state.log_history[-1].get("loss", 0.0) > 50:
            control.should_training_stop = True
        return control


def reads_the_log(args: TrainingArguments) -> Trainer:
    return Trainer(vit(), args, train_dataset=Rows(image_row), callbacks=[ReadsTheLog()])


class Shuffled(Trainer):
    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return RandomSampler(self.train_dataset, generator=torch.Generator().manual_seed(self.args.seed))


def own_generator(args: TrainingArguments) -> Trainer:
    return Shuffled(vit(), args, train_dataset=Rows(image_row))
