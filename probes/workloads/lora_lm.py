"""Fine-tune the pretrained MiniLM with LoRA to tell whether a docstring belongs to a function's signature."""

from datasets import Dataset
from minilm import model_folder
from peft import LoraConfig, TaskType, get_peft_model
from stdlib_text import documented
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

MAX_LENGTH = 48
NUM_PAIRS = 2400
NUM_EVAL = 150


def build(args: TrainingArguments) -> Trainer:
    """The Trainer of this workload."""
    items = documented()[:NUM_PAIRS]
    signatures = [item.signature for item in items]
    # Every second signature gets the docstring of the next but one: a pair that does not match.
    docstrings = [items[(i + 2 * (i % 2)) % len(items)].docstring for i in range(len(items))]
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    encoded = tokenizer(signatures, docstrings, truncation=True, max_length=MAX_LENGTH)
    data = Dataset.from_dict({**encoded, "label": [1 - i % 2 for i in range(len(items))]})
    model = AutoModelForSequenceClassification.from_pretrained(model_folder(), num_labels=2)
    # This model's loss is a mean over the micro-batch: the Trainer has to divide it by the accumulation steps.
    model.accepts_loss_kwargs = False
    lora = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=16,
        lora_alpha=32,
        lora_dropout=0.05,
        target_modules=["query", "key", "value", "dense"],
        modules_to_save=["classifier"],
    )
    return Trainer(
        model=get_peft_model(model, lora),
        args=args,
        train_dataset=data.select(range(NUM_EVAL, len(data))),
        eval_dataset=data.select(range(NUM_EVAL)),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
    )
