"""Train a small T5 from scratch to name a function from its docstring, with a tokenizer trained on the spot."""

import dataclasses

from datasets import Dataset
from stdlib_text import documented
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerFast,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    TrainingArguments,
)

VOCAB_SIZE = 3000
MAX_LENGTH = 80
MAX_NAME_LENGTH = 16
NUM_FUNCTIONS = 2400
NUM_EVAL = 150
NUM_FOR_TOKENIZER = 600
SPECIAL = ("<pad>", "</s>", "<unk>")


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A BPE tokenizer with T5's special tokens; names are cut at underscores."""
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, special_tokens=list(SPECIAL), show_progress=False)
    inner.train_from_iterator(texts, trainer)
    inner.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", SPECIAL.index("</s>"))])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def for_generation(args: TrainingArguments) -> Seq2SeqTrainingArguments:
    """The same arguments in the class that Seq2SeqTrainer asks for."""
    values = {field.name: getattr(args, field.name) for field in dataclasses.fields(args) if field.init}
    return Seq2SeqTrainingArguments(**values)


def build(args: TrainingArguments) -> Seq2SeqTrainer:
    """The Trainer of this workload."""
    items = documented()[:NUM_FUNCTIONS]
    tokenizer = train_tokenizer([f"{item.name} {item.docstring}" for item in items[:NUM_FOR_TOKENIZER]])
    encoded = tokenizer([item.docstring for item in items], truncation=True, max_length=MAX_LENGTH)
    names = tokenizer([item.name for item in items], truncation=True, max_length=MAX_NAME_LENGTH)
    data = Dataset.from_dict(
        {
            "input_ids": encoded["input_ids"],
            "attention_mask": encoded["attention_mask"],
            "labels": names["input_ids"],
        }
    )
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=256,
        d_kv=32,
        d_ff=1024,
        num_layers=3,
        num_heads=8,
        decoder_start_token_id=tokenizer.pad_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = T5ForConditionalGeneration(config)
    # This model's loss is a mean over the micro-batch: the Trainer has to divide it by the accumulation steps.
    model.accepts_loss_kwargs = False
    return Seq2SeqTrainer(
        model=model,
        args=for_generation(args),
        train_dataset=data.select(range(NUM_EVAL, len(data))),
        eval_dataset=data.select(range(NUM_EVAL)),
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        processing_class=tokenizer,
    )
