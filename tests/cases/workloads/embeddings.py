"""sentence-transformers' Trainer, with losses that compare samples of a micro-batch and with one that does not."""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from made import as_config, bert_config, tokenizer, words
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from sentence_transformers.sentence_transformer.training_args import BatchSamplers
from transformers import BertModel, Trainer, TrainingArguments


def model(folder: Path) -> SentenceTransformer:
    """What is read from a folder has to be written there first; the trial's own is taken away afterwards."""
    torch.manual_seed(0)
    BertModel(bert_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    body = Transformer(str(folder))
    return SentenceTransformer(modules=[body, Pooling(16)], device="cpu")


def _trainer(args: TrainingArguments, loss: Any, rows: list[dict[str, Any]], **own: Any) -> Trainer:
    made = model(Path(args.output_dir) / "base")
    config = as_config(args, SentenceTransformerTrainingArguments, **own)
    return SentenceTransformerTrainer(made, config, train_dataset=Dataset.from_list(rows), loss=loss(made))


def _pairs() -> list[dict[str, Any]]:
    return [{"anchor": words(index), "positive": words(index + 1)} for index in range(96)]


def ranking(args: TrainingArguments) -> Trainer:
    """In-batch negatives."""
    sampler = BatchSamplers.NO_DUPLICATES
    return _trainer(args, losses.MultipleNegativesRankingLoss, _pairs(), batch_sampler=sampler)


def similarity(args: TrainingArguments) -> Trainer:
    """Each pair by itself."""
    rows = [{**row, "label": (index % 5) / 5} for index, row in enumerate(_pairs())]
    return _trainer(args, losses.CosineSimilarityLoss, rows)
