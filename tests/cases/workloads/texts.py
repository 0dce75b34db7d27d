"""Language models and classifiers of texts, as public reports have them."""

from typing import Any

import torch
from datasets import Dataset, IterableDataset
from made import VOCAB, Rows, Stream, as_config, bert, bert_config, class_row, llama, numbers, pad, text_row, tokenizer
from transformers import (
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    DataCollatorWithFlattening,
    EarlyStoppingCallback,
    MixtralConfig,
    MixtralForCausalLM,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
)


def plain(args: TrainingArguments) -> Trainer:
    return Trainer(llama(), args, train_dataset=Rows(), eval_dataset=Rows(count=16), data_collator=pad)


def t5() -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=VOCAB, dropout_rate=0.0, decoder_start_token_id=0, pad_token_id=0, **sizes)
    return T5ForConditionalGeneration(config)


def seq2seq_generates(args: TrainingArguments) -> Trainer:
    """Evaluation generates, which is slow."""
    own = as_config(args, Seq2SeqTrainingArguments, predict_with_generate=True, generation_max_length=8)
    return Seq2SeqTrainer(t5(), own, train_dataset=Rows(), eval_dataset=Rows(count=16), data_collator=pad)


def several_turns(args: TrainingArguments) -> Trainer:
    """A chat of turns, of which only the answers are learned."""

    def row(index: int) -> dict[str, list[int]]:
        turns = [numbers(index + turn, 2 + (index + turn) % 3) for turn in range(2 * (1 + index % 3))]
        ids = [number for turn in turns for number in turn]
        labels = [n if place % 2 else -100 for place, turn in enumerate(turns) for n in turn]
        return {"input_ids": ids, "labels": labels, "attention_mask": [1] * len(ids)}

    return Trainer(llama(), args, train_dataset=Rows(row), data_collator=pad)


def padding_free(args: TrainingArguments) -> Trainer:
    """All samples of a micro-batch in one row, told apart by their positions."""
    rows = [{name: value for name, value in text_row(index).items() if name != "attention_mask"} for index in range(96)]
    return Trainer(llama(), args, train_dataset=rows, data_collator=DataCollatorWithFlattening())


def masked(args: TrainingArguments) -> Trainer:
    """The collator draws which words are hidden."""
    torch.manual_seed(0)
    words = tokenizer()
    words.mask_token = "w3"
    rows = [{"input_ids": numbers(index)} for index in range(96)]
    collate = DataCollatorForLanguageModeling(words, mlm_probability=0.5)
    return Trainer(BertForMaskedLM(bert_config()), args, train_dataset=rows, data_collator=collate)


class Sorted(Trainer):
    """Shortest first, as curricula and some translation recipes have it."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        lengths = [len(self.train_dataset[index]["input_ids"]) for index in range(len(self.train_dataset))]
        return sorted(range(len(lengths)), key=lengths.__getitem__)


def sequences_sorted(args: TrainingArguments) -> Trainer:
    return Sorted(llama(), args, train_dataset=Rows(), data_collator=pad)


def grouped_by_length(args: TrainingArguments) -> Trainer:
    rows = [text_row(index) for index in range(96)]
    return Trainer(llama(), args, train_dataset=rows, data_collator=pad)


def streamed(args: TrainingArguments) -> Trainer:
    return Trainer(llama(), args, train_dataset=Stream(), data_collator=pad)


def streamed_by_datasets(args: TrainingArguments) -> Trainer:
    rows = IterableDataset.from_generator(lambda: (text_row(index) for index in range(400)))
    return Trainer(llama(), args, train_dataset=rows, data_collator=pad)


def mapped_by_datasets(args: TrainingArguments) -> Trainer:
    """With columns that the model does not take, which the Trainer removes."""
    rows = Dataset.from_list([{**text_row(index), "source": "web"} for index in range(96)])
    return Trainer(llama(), args, train_dataset=rows, data_collator=pad)


def mixture_of_experts(args: TrainingArguments) -> Trainer:
    """An auxiliary loss balances the experts over the micro-batch."""
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=VOCAB, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=2, num_experts_per_tok=1, output_router_logits=True,
    )  # fmt: skip
    return Trainer(MixtralForCausalLM(config), args, train_dataset=Rows(), data_collator=pad)


def early_stopping(args: TrainingArguments) -> Trainer:
    stop = EarlyStoppingCallback(early_stopping_patience=1)
    return Trainer(llama(), args, train_dataset=Rows(), eval_dataset=Rows(count=8), data_collator=pad, callbacks=[stop])


def label_smoothing(args: TrainingArguments) -> Trainer:
    return Trainer(llama(), args, train_dataset=Rows(), data_collator=pad)


def classifier(args: TrainingArguments) -> Trainer:
    """BERT averages over the micro-batch and says that it takes the number of items."""
    return Trainer(bert(divided=False), args, train_dataset=Rows(class_row))


def several_evaluation_sets(args: TrainingArguments) -> Trainer:
    sets = {"web": Rows(class_row, 8), "books": Rows(class_row, 12)}
    return Trainer(bert(), args, train_dataset=Rows(class_row), eval_dataset=sets)


def half_weights(args: TrainingArguments) -> Trainer:
    return Trainer(llama().to(torch.bfloat16), args, train_dataset=Rows(), data_collator=pad)
