"""Fine-tune the pretrained MiniLM to tell from a docstring which part of the standard library it is from."""

from datasets import Dataset
from minilm import model_folder
from stdlib_text import TOPICS, documented
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

MAX_LENGTH = 48
NUM_EVAL = 200


def build(args: TrainingArguments) -> Trainer:
    """The Trainer of this workload."""
    labels = list(TOPICS)
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    model = AutoModelForSequenceClassification.from_pretrained(model_folder(), num_labels=len(labels))
    # This model's loss is a mean over the micro-batch: the Trainer has to divide it by the accumulation steps.
    model.accepts_loss_kwargs = False
    items = documented()
    encoded = tokenizer([item.docstring for item in items], truncation=True, max_length=MAX_LENGTH)
    data = Dataset.from_dict({**encoded, "label": [labels.index(item.topic) for item in items]})
    return Trainer(
        model=model,
        args=args,
        train_dataset=data.select(range(NUM_EVAL, len(data))),
        eval_dataset=data.select(range(NUM_EVAL)),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
    )
