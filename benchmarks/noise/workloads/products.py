"""A training whose steps take as long as there are matrix products in them, and nearly nothing else.

The learning rate, which costs nothing, says how many there are: 1e-3 is a hundred, 1.05e-3 a hundred and five.
"""

from typing import Any

import torch
from transformers import Trainer, TrainingArguments

WIDTH = 512
PRODUCTS_AT = 1e5
"""Products over the learning rate."""


class Model(torch.nn.Module):
    """One small layer that learns, after products that do not."""

    def __init__(self, num_products: int) -> None:
        super().__init__()
        self.num_products = num_products
        self.head = torch.nn.Linear(8, 1)
        self.register_buffer("matrix", torch.eye(WIDTH).roll(1, 0))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The mean square of what the layer says."""
        with torch.no_grad():
            product = self.matrix
            for _ in range(self.num_products):
                product = product @ self.matrix
        return {"loss": self.head(x + 0 * product[0, 0]).square().mean()}


class Data(torch.utils.data.Dataset[dict[str, Any]]):
    """Ones."""

    def __len__(self) -> int:
        return 10_000

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": torch.ones(8)}


def build(args: TrainingArguments) -> Trainer:
    """A Trainer of it."""
    return Trainer(Model(round(args.learning_rate * PRODUCTS_AT)), args, train_dataset=Data())
