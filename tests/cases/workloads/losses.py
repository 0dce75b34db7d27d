"""Losses of people's own: weighted, summed, distilled, contrastive; and the places where they are computed."""

from typing import Any

import torch
from made import Rows, bert, bert_config, class_row, image_row, llama, numbers, pad, text_row
from torch import nn
from torch.nn import functional
from transformers import BertModel, CLIPConfig, CLIPModel, Trainer, TrainingArguments


class Focal(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        each = functional.cross_entropy(outputs.logits, inputs["labels"], reduction="none")
        loss = ((1 - torch.exp(-each)) ** 2 * each).mean()
        return (loss, outputs) if return_outputs else loss


class Weighted(Trainer):
    """The mean of torch's weighted cross-entropy divides by the weights of those in the micro-batch."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        loss = functional.cross_entropy(outputs.logits, inputs["labels"], weight=torch.tensor([1.0, 0.8, 1.5]))
        return (loss, outputs) if return_outputs else loss


class Summed(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        loss = functional.cross_entropy(outputs.logits, inputs["labels"], reduction="sum")
        return (loss, outputs) if return_outputs else loss


def focal(args: TrainingArguments) -> Trainer:
    return Focal(bert(), args, train_dataset=Rows(class_row))


def focal_undivided(args: TrainingArguments) -> Trainer:
    return Focal(bert(divided=False), args, train_dataset=Rows(class_row))


def weighted(args: TrainingArguments) -> Trainer:
    return Weighted(bert(), args, train_dataset=Rows(class_row))


def summed(args: TrainingArguments) -> Trainer:
    return Summed(bert(), args, train_dataset=Rows(class_row))


def by_function(args: TrainingArguments) -> Trainer:
    """``compute_loss_func`` divides by the items of the whole optimizer step."""

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        return functional.cross_entropy(outputs.logits, labels, reduction="sum") / num_items_in_batch

    return Trainer(bert(divided=False), args, train_dataset=Rows(class_row), compute_loss_func=loss)


class Distils(Trainer):
    def __init__(self, *args: Any, teacher: nn.Module, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.teacher = teacher.eval().requires_grad_(False)

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**inputs)
        with torch.no_grad():
            wanted = self.teacher(**inputs).logits
        soft = functional.kl_div(outputs.logits.log_softmax(-1), wanted.softmax(-1), reduction="batchmean")
        loss = outputs.loss + 0.5 * soft
        return (loss, outputs) if return_outputs else loss


def distillation(args: TrainingArguments) -> Trainer:
    teacher = bert(num_hidden_layers=2)
    return Distils(bert(), args, train_dataset=Rows(class_row), teacher=teacher)


class Tasks(nn.Module):
    """Several tasks, each with a loss of its own in the outputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.color, self.size = nn.Embedding(64, 16), nn.Linear(16, 3), nn.Linear(16, 1)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        hidden = self.body(input_ids).mean(1)
        color = functional.cross_entropy(self.color(hidden), labels)
        size = functional.mse_loss(self.size(hidden).squeeze(-1), labels.float())
        return {"loss": color + 0.1 * size, "losses": {"color": color.detach(), "size": size.detach()}}


def several_tasks(args: TrainingArguments) -> Trainer:
    rows = [{"input_ids": numbers(index, 5), "labels": index % 3} for index in range(96)]
    return Trainer(Tasks(), args, train_dataset=rows)


class Normed(nn.Module):
    """Batch norm: what a sample becomes depends on the others of its micro-batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": functional.cross_entropy(self.body(pixel_values), labels)}


def batch_norm(args: TrainingArguments) -> Trainer:
    return Trainer(Normed(), args, train_dataset=Rows(image_row))


class FrozenNorm(Normed):
    """The usual way to fine-tune a convolutional network: its batch norm stays in evaluation mode."""

    def train(self, mode: bool = True) -> "FrozenNorm":
        super().train(mode)
        self.body[1].eval()
        return self


def frozen_batch_norm(args: TrainingArguments) -> Trainer:
    return Trainer(FrozenNorm(), args, train_dataset=Rows(image_row))


class SimCSE(nn.Module):
    """The same text twice, told apart from the others by dropout alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = BertModel(bert_config(), add_pooling_layer=False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        one, two = (self.encoder(input_ids, attention_mask).last_hidden_state[:, 0] for _ in range(2))
        scores = functional.cosine_similarity(one[:, None], two[None], dim=-1) / 0.05
        return {"loss": functional.cross_entropy(scores, torch.arange(len(scores)))}


def simcse(args: TrainingArguments) -> Trainer:
    rows = [{"input_ids": numbers(index, 5), "attention_mask": [1] * 5} for index in range(96)]
    return Trainer(SimCSE(), args, train_dataset=rows)


class Towers(nn.Module):
    """Question and passage in nested dicts, no labels; the other passages of the micro-batch are wrong answers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = BertModel(bert_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))

    def forward(self, question: dict[str, Any], passage: dict[str, Any]) -> dict[str, torch.Tensor]:
        one, two = (functional.normalize(self.encoder(**it).last_hidden_state[:, 0]) for it in (question, passage))
        scores = one @ two.T / 0.05
        return {"loss": functional.cross_entropy(scores, torch.arange(len(scores))), "scores": scores}


def two_towers(args: TrainingArguments) -> Trainer:
    def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
        sides = {side: pad([one[side] for one in samples]) for side in ("question", "passage")}
        return {side: {n: v for n, v in batch.items() if n != "labels"} for side, batch in sides.items()}

    args.remove_unused_columns = False
    rows = Rows(lambda index: {"question": text_row(index), "passage": text_row(index + 500)})
    return Trainer(Towers(), args, train_dataset=rows, data_collator=collate)


class HardestTriplets(nn.Module):
    """Each sample against the hardest of its own class and of the others in the micro-batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Embedding(64, 8)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        distance = torch.cdist(*[self.body(input_ids).mean(1)] * 2)
        same = labels[:, None] == labels[None]
        nearest = distance.masked_fill(same, torch.inf).min(1).values.clamp(max=5.0)
        return {"loss": functional.relu(distance.masked_fill(~same, 0.0).max(1).values - nearest + 5.0).mean()}


def hardest_triplets(args: TrainingArguments) -> Trainer:
    rows = [{"input_ids": numbers(index, 5), "labels": index % 2} for index in range(96)]
    return Trainer(HardestTriplets(), args, train_dataset=rows)


def image_and_text(args: TrainingArguments) -> Trainer:
    """CLIP: each image against all texts of the micro-batch."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={"vocab_size": 64, "max_position_embeddings": 16, "eos_token_id": 2, **sizes},
        vision_config={"image_size": 8, "patch_size": 4, "num_channels": 1, **sizes},
        projection_dim=8,
    )
    rows = [{**image_row(i), "input_ids": numbers(i, 6), "attention_mask": [1] * 6} for i in range(96)]

    def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
        ids = torch.tensor([one["input_ids"] for one in samples])
        pixels = torch.stack([one["pixel_values"] for one in samples])
        return {"input_ids": ids, "pixel_values": pixels, "return_loss": True}

    args.remove_unused_columns = False
    return Trainer(CLIPModel(config), args, train_dataset=rows, data_collator=collate)


class Perplexity(Trainer):
    """Adds nothing to the loss, but reads its value in every step."""

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        self.perplexity = float(loss.exp())
        return loss


def reads_loss(args: TrainingArguments) -> Trainer:
    return Perplexity(llama(), args, train_dataset=Rows(), data_collator=pad)
