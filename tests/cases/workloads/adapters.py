"""PEFT's methods, and a callback that saves an adapter where it always has."""

from pathlib import Path
from typing import Any

from made import Rows, llama, pad
from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import Trainer, TrainerCallback, TrainingArguments


def _adapted(args: TrainingArguments, config: Any, **options: Any) -> Trainer:
    model = get_peft_model(llama(), config)
    return Trainer(model, args, train_dataset=Rows(), data_collator=pad, **options)


def _lora() -> LoraConfig:
    return LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


def lora(args: TrainingArguments) -> Trainer:
    return _adapted(args, _lora())


def ia3(args: TrainingArguments) -> Trainer:
    modules = ["k_proj", "v_proj", "down_proj"]
    return _adapted(
        args, IA3Config(target_modules=modules, feedforward_modules=["down_proj"], task_type="CAUSAL_LM")
    )  # fmt: skip


def prompt_tuning(args: TrainingArguments) -> Trainer:
    return _adapted(args, PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"))


def prefix_tuning(args: TrainingArguments) -> Trainer:
    return _adapted(args, PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"))


class KeepsAdapter(TrainerCallback):
    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        model.save_pretrained(Path("adapter"))


def callback_saves_adapter(args: TrainingArguments) -> Trainer:
    return _adapted(args, _lora(), callbacks=[KeepsAdapter()])
