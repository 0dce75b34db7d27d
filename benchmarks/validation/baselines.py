"""A published row and the size of its model to what two usual estimates say of its memory, to compare predictions with.

``accelerate estimate-memory`` knows the size of the model and the dtype, and nothing of the training. The closed
formula is that of the calculators for large language models: weights, gradients, optimizer state, and the activations
of Korthikanti et al. 2022 (arXiv 2205.05198, equations 2 and 6), ``s b h L (34 + 5 a s / h)`` bytes in half precision.
"""

from typing import Any

from accelerate.commands.estimate import estimate_training_usage
from transformers import AutoConfig

from benchmarks.validation.models import MODELS
from benchmarks.validation.rows import Row

ACCELERATE_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""nf4 is missing: the command prints N/A for training in int4."""
WEIGHT_BYTES = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "nf4": 0.5}
STATE_BYTES = {"adafactor": 0.0, "adamw_bnb_8bit": 2.0}
"""Of an element; two moments in fp32 for all others."""
ADAM_STATE_BYTES = 8.0
SHARDED = {
    "ddp": frozenset[str](),
    "zero1": frozenset({"states"}),
    "zero2": frozenset({"states", "gradients"}),
    "zero3": frozenset({"states", "gradients", "weights"}),
    "fsdp": frozenset({"states", "gradients", "weights"}),
}


def accelerate_bytes(row: Row) -> int | None:
    """``Training using Adam`` of ``accelerate estimate-memory``, for the dtype nearest to the row's; None: N/A.

    The command takes the model in fp32, and has no notion of adapters, batches, lengths or GPUs.
    """
    dtype = ACCELERATE_DTYPES.get(row["amp"] or row["weights_dtype"])
    if dtype is None or row["weights_dtype"] == "nf4":
        return None
    usage = estimate_training_usage(4 * MODELS[row["model"]].num_parameters, dtype)
    return int(max(usage.values()))


def formula_bytes(row: Row, num_trainable: int) -> int:
    """Weights, gradients, optimizer state and activations of one GPU."""
    weight = WEIGHT_BYTES[row["weights_dtype"]]
    gradient = 4.0 if row["lora"] else weight
    parts = {
        "weights": weight * MODELS[row["model"]].num_parameters,
        "gradients": gradient * num_trainable,
        "states": STATE_BYTES.get(row["optimizer"], ADAM_STATE_BYTES) * num_trainable,
    }
    num_gpus = row["num_gpus"] or 1
    divided = SHARDED.get(row["sharding"], frozenset()) if num_gpus > 1 else frozenset()
    held = sum(num_bytes / (num_gpus if part in divided else 1) for part, num_bytes in parts.items())
    return int(held + activation_bytes(row))


def activation_bytes(row: Row) -> float:
    """Of one micro-batch; with checkpointing what is kept of each layer, and one layer in full."""
    config: Any = AutoConfig.for_model(**MODELS[row["model"]].config)
    layers = config.num_hidden_layers + (getattr(config, "num_decoder_layers", 0) or 0)
    tokens, hidden = row["seq_len"] * row["micro_batch"], config.hidden_size
    scores = 5 * config.num_attention_heads * row["seq_len"] / hidden if row["attention"] == "eager" else 0.0
    half = row["amp"] is not None or row["weights_dtype"] != "fp32"
    layer = tokens * hidden * (34 + scores) * (1 if half else 2)
    return float(2 * tokens * hidden * (1 if half else 2) * layers + layer if row["checkpointing"] else layer * layers)
