"""Train a small Llama from scratch on the standard library's functions, with a BPE tokenizer trained on the spot."""

from datasets import Dataset
from stdlib_text import documented
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    DataCollatorForLanguageModeling,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

VOCAB_SIZE = 2048
MAX_LENGTH = 160
NUM_FUNCTIONS = 2400
NUM_EVAL = 150
NUM_FOR_TOKENIZER = 300


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that ends and pads with the same token, as GPT-2 does."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=VOCAB_SIZE, special_tokens=["<end>"], show_progress=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer,  # noqa: SLF001 (the library offers no other way to the inner object)
        eos_token="<end>",
        pad_token="<end>",
    )


def build(args: TrainingArguments) -> Trainer:
    """The Trainer of this workload."""
    functions = [item.source for item in documented()[:NUM_FUNCTIONS]]
    tokenizer = train_tokenizer(functions[:NUM_FOR_TOKENIZER])
    encoded = tokenizer([text + "<end>" for text in functions], truncation=True, max_length=MAX_LENGTH)
    data = Dataset.from_dict({"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]})
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=MAX_LENGTH,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=False,
    )
    return Trainer(
        model=LlamaForCausalLM(config),
        args=args,
        train_dataset=data.select(range(NUM_EVAL, len(data))),
        eval_dataset=data.select(range(NUM_EVAL)),
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
        processing_class=tokenizer,
    )
