"""What the cases are built of: tiny models with random weights, rows made up by their index, a tokenizer in code."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.data import Dataset, IterableDataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
)

VOCAB, COUNT = 64, 96


def numbers(index: int, length: int | None = None) -> list[int]:
    """Token ids of a row; four to eleven of them where nothing is said."""
    count = 4 + index % 8 if length is None else length
    return torch.randint(3, VOCAB, (count,), generator=torch.Generator().manual_seed(index)).tolist()


def text_row(index: int) -> dict[str, list[int]]:
    ids = numbers(index)
    return {"input_ids": ids, "labels": list(ids), "attention_mask": [1] * len(ids)}


def class_row(index: int) -> dict[str, Any]:
    ids = numbers(index, 6)
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": ids[0] % 3}


def image_row(index: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(index)
    return {"pixel_values": torch.randn(1, 8, 8, generator=generator), "labels": index % 3}


class Rows(Dataset):
    """Rows that a function makes."""

    def __init__(self, row: Callable[[int], Any] = text_row, count: int = COUNT) -> None:
        self.row, self.count = row, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.row(index)


class Stream(IterableDataset):
    """The same rows, iterated, and no word of how many there are."""

    def __init__(self, row: Callable[[int], Any] = text_row) -> None:
        self.row = row

    def __iter__(self) -> Iterator[Any]:
        return (self.row(index) for index in range(400))


def pad(samples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    longest = max(len(s["input_ids"]) for s in samples)
    fill = {"input_ids": 0, "labels": -100, "attention_mask": 0}
    return {n: torch.tensor([s[n] + [v] * (longest - len(s[n])) for s in samples]) for n, v in fill.items()}


def llama(**options: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = LlamaConfig(vocab_size=VOCAB, num_key_value_heads=2, **{**sizes, **special, **options})
    return LlamaForCausalLM(config)


def bert_config(**options: Any) -> BertConfig:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return BertConfig(vocab_size=VOCAB, **{"num_labels": 3, **sizes, **options})


def bert(divided: bool = True, **options: Any) -> BertForSequenceClassification:
    """A classifier. Divided: the Trainer is told to divide its loss by the accumulation steps."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        bert_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **options)
    )
    if divided:
        model.accepts_loss_kwargs = False
    return model


def vit(**options: Any) -> ViTForImageClassification:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=8, patch_size=4,
        num_channels=1, num_labels=3, **options,
    )  # fmt: skip
    model = ViTForImageClassification(config)
    model.accepts_loss_kwargs = False
    return model


def as_config(args: TrainingArguments, cls: type, **own: Any) -> Any:
    """Arguments of another class with the values of these, as people do who are given TrainingArguments."""
    values = {f.name: getattr(args, f.name) for f in fields(args) if f.init}
    values.pop("gradient_checkpointing", None)
    return cls(**{**values, **own})


def tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i for i in range(3, VOCAB)}}
    split = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    split.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=split, pad_token="<pad>", eos_token="</s>", bos_token="<s>", padding_side="right",
        model_max_length=64,
    )  # fmt: skip


def words(index: int, length: int | None = None) -> str:
    return " ".join(f"w{number}" for number in numbers(index, length))
