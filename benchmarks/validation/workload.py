"""A row of rows.jsonl to the Trainer and the TrainingArguments of the run that it is about.

``build`` reads the row, as JSON, from the environment variable PERFTUNE_VALIDATION_ROW. It looks at no parameter's
value, so that it also works where every parameter is put on the meta device as soon as it is registered.
"""

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own name for it)
import transformers
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.utils.data import Dataset
from transformers import AttentionInterface, AutoConfig, BitsAndBytesConfig, Trainer, TrainingArguments
from transformers.integrations.bitsandbytes import replace_with_bnb_linear
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.utils.import_utils import is_flash_attn_2_available

from benchmarks.validation.models import MODELS
from benchmarks.validation.rows import Row, is_in_trainer
from perftune.records.candidate import CHECKPOINTING
from perftune.workloads.arguments import installed_name

ROW_VARIABLE = "PERFTUNE_VALIDATION_ROW"
NUM_SAMPLES = 2**20
"""More than any run takes; a sample is made when it is asked for."""
ZERO_GRAD_SETS_TO_NONE = 2023
"""Before torch 2.0, zeroed gradients kept their memory."""
SOFTMAX_DROPS_ITS_INPUT = 2023
"""Before torch 1.11 (March 2022), softmax kept its input for the backward pass, as a tensor of its own under autocast
(derivatives.yaml of torch 1.10: ``_softmax_backward_data(grad, result, dim, self)``)."""
LOSS_COPIES_LOGITS = 2025
"""transformers 4.46 to 4.48 shifted the logits, and so copied them in fp32, while the caller held them in half
precision (``ForCausalLMLoss`` until huggingface/transformers pull request 35646); before, the caller let go."""
LOSS_IN_FP32 = {"gpt_bigcode": 2026}
"""Model type -> first year in which its loss is taken in fp32. In transformers 4.48 and before it was taken in the
dtype of the logits, of a shifted copy (modeling_gpt_bigcode.py)."""
TOKEN = 1
"""In every vocabulary, and no padding in any of the models."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MODEL_CLASSES = {
    "causal-lm": transformers.AutoModelForCausalLM,
    "masked-lm": transformers.AutoModelForMaskedLM,
    "seq2seq-lm": transformers.AutoModelForSeq2SeqLM,
    "sequence-classification": transformers.AutoModelForSequenceClassification,
}
OLD_EAGER = "eager_before_torch_1_11"
ATTENTION = {"eager": "eager", "sdpa": "sdpa", "sdpa_efficient": "sdpa", "flash_attention_2": "flash_attention_2"}


def build(args: TrainingArguments) -> Trainer:
    """The Trainer of the row in the environment."""
    row: Row = json.loads(os.environ[ROW_VARIABLE])
    model = build_model(row)
    trainer_class = Trainer if is_in_trainer(row) else HoldsOutputs
    trainer = trainer_class(model=model, args=args, train_dataset=FixedLength(row), data_collator=stack)
    if isinstance(trainer, HoldsOutputs):
        trainer.is_mixed = row["amp"] is not None
    if row["optimizer_implementation"] == "forloop":
        trainer.create_optimizer = partial(looping, trainer.create_optimizer)  # type: ignore[method-assign]
    return trainer


def looping(create_optimizer: Callable[..., torch.optim.Optimizer], *args: Any) -> torch.optim.Optimizer:
    """An optimizer that steps one parameter after the other, where nobody asked for another way."""
    optimizer = create_optimizer(*args)
    for values in (optimizer.defaults, *optimizer.param_groups):
        if "foreach" in values and values["foreach"] is None:
            values["foreach"] = False
    return optimizer


class HoldsOutputs(Trainer):
    """A plain loop, ``outputs = model(**batch); outputs.loss.backward()``: the logits live until the next step.

    Mixed precision is torch's own there: accelerate's, which copies the outputs into fp32, is left off.
    """

    is_mixed = False

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The loss; the outputs stay."""
        device = self.args.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.is_mixed):
            loss, self.outputs = super().compute_loss(*args, **{**kwargs, "return_outputs": True})
        return loss

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One step of the loop."""
        loss = super().training_step(*args, **kwargs)
        del self.outputs
        return loss


def training_arguments(row: Row) -> dict[str, Any]:
    """The TrainingArguments fields that the row gives, in the spelling of the installed transformers.

    Sharding is not among them: it takes processes or a config file of its own.
    """
    values: dict[str, Any] = {
        "per_device_train_batch_size": row["micro_batch"],
        "gradient_accumulation_steps": row["accumulation"] or 1,
        "bf16": row["amp"] == "bf16",
        "fp16": row["amp"] == "fp16",
        "optim": row["optimizer"],
        "torch_compile": row["compile"],
        installed_name(CHECKPOINTING): bool(row["checkpointing"]),
    }
    if row["checkpointing"]:
        values[installed_name(f"{CHECKPOINTING}_kwargs")] = {"use_reentrant": bool(row["reentrant"])}
    if row["tf32"] and torch.cuda.is_available():
        values["tf32"] = True
    return values


def build_model(row: Row) -> nn.Module:
    """The row's model with random weights, quantised and with adapters where the row has them."""
    quantised = row["weights_dtype"] == "nf4"
    config = AutoConfig.for_model(**MODELS[row["model"]].config, use_cache=False)
    model = MODEL_CLASSES[row["task"]].from_config(  # type: ignore[no-untyped-call]
        config,
        dtype=DTYPES[row["compute_dtype"] if quantised else row["weights_dtype"]],
        attn_implementation=attention(row),
    )
    if quantised:
        model = _quantise(model, row)
    if row["upcast"]:
        _upcast(model)
    needs_input_grads = row["upcast"] or row["reentrant"]
    if row["lora"] is not None and row["checkpointing"] and needs_input_grads:
        model.enable_input_require_grads()
    loss = loss_of_its_time(row, config.model_type)
    if loss is not None:
        model.loss_function = loss
    if row["software"] < ZERO_GRAD_SETS_TO_NONE:
        model.zero_grad = partial(model.zero_grad, set_to_none=False)
    return model if row["lora"] is None else _with_lora(model, row["lora"])


def loss_of_its_time(row: Row, model_type: str) -> Callable[..., torch.Tensor] | None:
    """The loss that the row's software takes; None: it allocates what today's does."""
    if row["task"] != "causal-lm":
        return None
    in_fp32 = row["software"] >= LOSS_IN_FP32.get(model_type, 0)
    return partial(shifted_loss, in_fp32=in_fp32) if row["software"] == LOSS_COPIES_LOGITS or not in_fp32 else None


def shifted_loss(
    logits: torch.Tensor, labels: torch.Tensor, vocab_size: int, *, in_fp32: bool, **_: Any
) -> torch.Tensor:
    """Cross entropy of a copy of the logits without the last position."""
    if in_fp32:
        logits = logits.float()
    shifted = logits[..., :-1, :].contiguous()
    return F.cross_entropy(shifted.view(-1, vocab_size), labels[..., 1:].contiguous().view(-1))


def attention(row: Row) -> str | None:
    """The implementation to ask transformers for; SDPA's flash kernel stands in where flash-attn is not installed."""
    name = ATTENTION[row["attention"]] if row["attention"] else None
    if name == "eager" and row["software"] < SOFTMAX_DROPS_ITS_INPUT:
        return OLD_EAGER
    return "sdpa" if name == "flash_attention_2" and not is_flash_attn_2_available() else name


class KeptForBackward(torch.autograd.Function):
    """A result that keeps another tensor until its backward pass has run."""

    @staticmethod
    def forward(ctx: Any, result: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """The result as it is."""
        ctx.save_for_backward(kept)
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The gradient as it is."""
        assert ctx.saved_tensors
        return grads[0], None


def attention_before_torch_1_11(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention in single operators, with a softmax that keeps its input."""
    scores = torch.matmul(query, key.transpose(2, 3)) * (scaling or query.shape[-1] ** -0.5)
    if attention_mask is not None:
        scores = scores + attention_mask
    if torch.is_autocast_enabled(scores.device.type):
        scores = scores.float()
    weights = KeptForBackward.apply(F.softmax(scores, dim=-1), scores)  # type: ignore[no-untyped-call]
    weights = F.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(OLD_EAGER, attention_before_torch_1_11)
AttentionMaskInterface.register(OLD_EAGER, eager_mask)


def _quantise(model: nn.Module, row: Row) -> nn.Module:
    """Put bitsandbytes' layers in the place of the linear ones, the head excepted."""
    dtype = DTYPES[row["compute_dtype"]]
    config = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=row["double_quant"],
    )
    device = next(model.parameters()).device
    model = replace_with_bnb_linear(model, modules_to_not_convert=["lm_head"], quantization_config=config)
    for module in model.modules():
        if _is_quantised(module):
            _fill(module, device, dtype)
    model.is_loaded_in_4bit = True  # type: ignore[assignment]  # PEFT asks the model
    return model


def _is_quantised(module: nn.Module) -> bool:
    return type(module).__name__ == "Linear4bit"


def _fill(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Give a layer that transformers made on the meta device zeros on a real one, and its bias the model's dtype."""
    if module.bias is not None:
        module.bias = nn.Parameter(torch.zeros(module.bias.shape, dtype=dtype, device=device), requires_grad=False)  # type: ignore[arg-type]
    if device.type != "meta":
        weight: Any = module.weight
        values = torch.zeros(weight.shape, dtype=dtype)
        module.weight = type(weight)(
            values, requires_grad=False, compress_statistics=weight.compress_statistics, quant_type=weight.quant_type
        ).to(device)


def _upcast(model: nn.Module) -> None:
    """What peft.prepare_model_for_kbit_training does to dtypes, without asking a parameter for its class."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            parameter.requires_grad_(False)
            if not (_is_quantised(module) and name == "weight") and parameter.is_floating_point():
                parameter.data = parameter.data.to(torch.float32)


def _with_lora(model: nn.Module, lora: dict[str, Any]) -> nn.Module:
    config = LoraConfig(
        r=lora["r"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=lora["targets"],
        modules_to_save=lora["saved"] or None,
        task_type="CAUSAL_LM",
    )
    adapted: nn.Module = get_peft_model(model, config, autocast_adapter_dtype=lora["dtype"] == "fp32")
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:  # PEFT makes those of packed weights in fp32
            parameter.data = parameter.data.to(DTYPES[lora["dtype"]])
    return adapted


class FixedLength(Dataset[dict[str, torch.Tensor]]):
    """Samples that all have the row's length, without padding."""

    def __init__(self, row: Row) -> None:
        self._length: int = row["seq_len"]
        self._target_length: int = row["target_len"] or row["seq_len"]
        self._mask: bool = row["attention_mask"]
        self._task: str = row["task"]

    def __len__(self) -> int:
        return NUM_SAMPLES

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        sample = {"input_ids": torch.full((self._length,), TOKEN)}
        if self._mask:
            sample["attention_mask"] = torch.ones(self._length, dtype=torch.long)
        is_class = self._task == "sequence-classification"
        sample["labels"] = torch.tensor(index % 2) if is_class else torch.full((self._target_length,), TOKEN)
        return sample


def stack(samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The batch of equally long samples."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
