"""Build functions whose training steps are traced: every sample is equally long, so all sizes are known beforehand."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

LENGTH, VOCAB, HIDDEN, HEADS, LAYERS = 64, 96, 32, 4, 2
LLAMA = LlamaConfig(
    vocab_size=VOCAB,
    hidden_size=HIDDEN,
    intermediate_size=64,
    num_hidden_layers=LAYERS,
    num_attention_heads=HEADS,
    num_key_value_heads=HEADS,
    use_cache=False,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
SMALL_BERT = {
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "intermediate_size": 64,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
}


class Sequences(torch.utils.data.Dataset[dict[str, list[int]]]):
    """Of one length; with a mask that leaves out the second half, or with none."""

    def __init__(self, is_padded: bool = False, length: int = LENGTH) -> None:
        self.is_padded, self.length = is_padded, length

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        ids = [3 + (index + place) % 60 for place in range(self.length)]
        mask = {"attention_mask": [1] * (self.length // 2) + [0] * (self.length // 2)} if self.is_padded else {}
        return {"input_ids": ids, "labels": list(ids), **mask}


def stack(samples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([sample[name] for sample in samples]) for name in samples[0]}


def trainer(model: Any, args: TrainingArguments, cls: type[Trainer] = Trainer, **options: Any) -> Trainer:
    return cls(model=model, args=args, train_dataset=Sequences(**options), data_collator=stack)


def llama(args: TrainingArguments) -> Trainer:
    return trainer(LlamaForCausalLM(LLAMA), args)


def padded_llama(args: TrainingArguments) -> Trainer:
    return trainer(LlamaForCausalLM(LLAMA), args, is_padded=True)


def tied_llama(args: TrainingArguments) -> Trainer:
    config = LlamaConfig(**{**LLAMA.to_dict(), "tie_word_embeddings": True})
    return trainer(LlamaForCausalLM(config), args)


def half_llama(args: TrainingArguments) -> Trainer:
    return trainer(LlamaForCausalLM(LLAMA).to(torch.bfloat16), args)


def bert(args: TrainingArguments) -> Trainer:
    return trainer(BertForMaskedLM(BertConfig(**SMALL_BERT)), args)


def wide_bert(args: TrainingArguments) -> Trainer:
    """With matrices that optimizers find worth quantising."""
    config = BertConfig(**SMALL_BERT | {"hidden_size": 128, "intermediate_size": 1024, "vocab_size": 1024})
    return trainer(BertForMaskedLM(config), args)


def t5(args: TrainingArguments) -> Trainer:
    config = T5Config(vocab_size=VOCAB, d_model=HIDDEN, d_kv=8, d_ff=64, num_layers=LAYERS, num_heads=HEADS)
    config.decoder_start_token_id = 0
    return trainer(T5ForConditionalGeneration(config), args)


def seventy_billion(args: TrainingArguments) -> Trainer:
    """The sizes of Llama 2 70B."""
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
    )
    return trainer(LlamaForCausalLM(config), args, length=8)


def from_folder(args: TrainingArguments) -> Trainer:
    """A pretrained model from ``saved``, in the working directory."""
    return trainer(AutoModelForCausalLM.from_pretrained("saved"), args)


def packed(args: TrainingArguments) -> Trainer:
    """Linear layers in four bits, the head excepted; adapters train."""
    return _adapters(args, load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)


def eight_bits(args: TrainingArguments) -> Trainer:
    """The same in eight bits."""
    return _adapters(args, load_in_8bit=True)


def _adapters(args: TrainingArguments, **quantization: Any) -> Trainer:
    from peft import LoraConfig, get_peft_model
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(**quantization)
    model = AutoModelForCausalLM.from_pretrained("saved", quantization_config=config, dtype=torch.bfloat16)
    adapters = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    return trainer(get_peft_model(model, adapters), args)


class ReadsItsLoss(Trainer):
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        loss = model(**inputs).loss
        self.largest = max(getattr(self, "largest", 0.0), loss.item())
        return loss


READS_IN_LINE = next(
    number for number, line in enumerate(Path(__file__).read_text().splitlines(), 1) if line.endswith("loss.item())")
)


def reads_its_loss(args: TrainingArguments) -> Trainer:
    return trainer(LlamaForCausalLM(LLAMA), args, ReadsItsLoss)


class Branches(Trainer):
    """The second micro-batch takes another way than the first, whatever its values."""

    num_steps = 0

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        self.num_steps += 1
        loss = model(**inputs).loss
        return loss * 2 + 1 if self.num_steps > 2 else loss


def branches(args: TrainingArguments) -> Trainer:
    return trainer(LlamaForCausalLM(LLAMA), args, Branches)


class Shared(torch.nn.Module):
    """Two layers that were given one parameter, which nobody registered before them."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.nn.Parameter(torch.zeros(HIDDEN, HIDDEN))
        self.first, self.second = torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.Linear(HIDDEN, HIDDEN)
        self.first.weight = weight
        self.second.weight = weight

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        x = torch.nn.functional.one_hot(input_ids % HIDDEN, HIDDEN).float()
        return {"loss": (self.second(self.first(x)) ** 2).mean()}


def shared(args: TrainingArguments) -> Trainer:
    return trainer(Shared(), args)
