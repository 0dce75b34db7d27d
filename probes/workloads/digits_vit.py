"""Train a small vision transformer from scratch on scikit-learn's handwritten digits, scaled up to 32 × 32."""

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate
from torch.utils.data import TensorDataset
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

IMAGE_SIZE = 32
NUM_EVAL = 200
BRIGHTEST = 16.0
"""Pixels of the digits go from 0 to this."""


def collate(samples: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Pairs of image and digit to what the model takes."""
    images, digits = zip(*samples, strict=True)
    return {"pixel_values": torch.stack(images), "labels": torch.stack(digits)}


def build(args: TrainingArguments) -> Trainer:
    """The Trainer of this workload."""
    digits = load_digits()
    small = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / BRIGHTEST
    images = interpolate(small, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear")
    classes = torch.tensor(digits.target, dtype=torch.long)
    config = ViTConfig(
        image_size=IMAGE_SIZE,
        patch_size=4,
        num_channels=1,
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=3,
        num_labels=len(digits.target_names),
    )
    return Trainer(
        model=ViTForImageClassification(config),
        args=args,
        train_dataset=TensorDataset(images[NUM_EVAL:], classes[NUM_EVAL:]),
        eval_dataset=TensorDataset(images[:NUM_EVAL], classes[:NUM_EVAL]),
        data_collator=collate,
    )
