"""TRL's Trainers: instructions, packed and padding-free, preferences, rewards, and completions that it generates."""

from typing import Any

import torch
from datasets import Dataset
from made import VOCAB, as_config, llama, tokenizer, words
from transformers import LlamaConfig, LlamaForSequenceClassification, Trainer, TrainingArguments
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)  # fmt: skip


def _sft(args: TrainingArguments, **own: Any) -> Trainer:
    rows = Dataset.from_list([{"text": words(index)} for index in range(96)])
    config = as_config(args, SFTConfig, **{"max_length": 16, **own})
    return SFTTrainer(llama(), config, train_dataset=rows, processing_class=tokenizer())


def sft(args: TrainingArguments) -> Trainer:
    return _sft(args)


def sft_packed(args: TrainingArguments) -> Trainer:
    return _sft(args, packing=True, packing_strategy="wrapped")


def sft_padding_free(args: TrainingArguments) -> Trainer:
    return _sft(args, padding_free=True, max_length=None)


def _pairs() -> Dataset:
    return Dataset.from_list(
        [{"prompt": words(i, 3), "chosen": " " + words(i + 1), "rejected": " " + words(i + 2)} for i in range(96)]
    )


def dpo(args: TrainingArguments) -> Trainer:
    config = as_config(args, DPOConfig, max_length=24)
    return DPOTrainer(llama(), llama(), config, train_dataset=_pairs(), processing_class=tokenizer())


def reward(args: TrainingArguments) -> Trainer:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForSequenceClassification(LlamaConfig(vocab_size=VOCAB, num_labels=1, pad_token_id=0, **sizes))
    config = as_config(args, RewardConfig, max_length=24)
    return RewardTrainer(model, config, train_dataset=_pairs(), processing_class=tokenizer())


def kto(args: TrainingArguments) -> Trainer:
    """Its divergence is estimated from completions of other samples of the micro-batch."""
    rows = [{"prompt": words(i, 3), "completion": " " + words(i + 1), "label": i % 2 == 0} for i in range(96)]
    config = as_config(args, KTOConfig, max_length=24, train_sampling_strategy="sequential")
    data = Dataset.from_list(rows)
    return KTOTrainer(llama(), llama(), config, train_dataset=data, processing_class=tokenizer())


def _length(completions: list[str], **kwargs: Any) -> list[float]:
    return [float(len(text) % 7) for text in completions]


def _grpo(args: TrainingArguments, **own: Any) -> Trainer:
    rows = Dataset.from_list([{"prompt": words(index, 3)} for index in range(96)])
    config = as_config(args, GRPOConfig, num_generations=2, max_completion_length=4, **own)
    return GRPOTrainer(
        llama(), _length, args=config, train_dataset=rows, processing_class=tokenizer()
    )  # fmt: skip


def grpo(args: TrainingArguments) -> Trainer:
    return _grpo(args)


def grpo_two_batches(args: TrainingArguments) -> Trainer:
    """Completions are generated for so many micro-batches at once, whatever the accumulation is."""
    return _grpo(args, steps_per_generation=2)
