"""Other tools' batch size finders, run for real: their own code asks, and a perftune trial answers whether it fits."""

from collections.abc import Callable
from typing import Any

Fits = Callable[[int], bool]
OUT_OF_MEMORY = "DefaultCPUAllocator: can't allocate memory: the trial at this size ran out of memory"
"""What both tools take for an out-of-memory error of the CPU."""


def auto_find_batch_size(start: int, fits: Fits) -> int:
    """Where ``TrainingArguments(auto_find_batch_size=True)`` ends: accelerate's decorator from the user's own size."""
    from accelerate.utils import find_executable_batch_size

    def train(batch_size: int) -> int:
        if not fits(batch_size):
            raise RuntimeError(OUT_OF_MEMORY)
        return batch_size

    found: int = find_executable_batch_size(train, starting_batch_size=start)()
    return found


def lightning_power_scaler(largest: int, fits: Fits) -> int:
    """Where Lightning's ``Tuner.scale_batch_size(mode="power")`` ends, not above the global batch."""
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.tuner import Tuner

    class Asks(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.batch_size = 2
            self.answers: dict[int, bool] = {}

        def train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(torch.zeros(4 * largest, 1), batch_size=self.batch_size)

        def training_step(self, batch: Any, _: int) -> Any:
            if self.batch_size not in self.answers:
                self.answers[self.batch_size] = fits(self.batch_size)
            if not self.answers[self.batch_size]:
                raise RuntimeError(OUT_OF_MEMORY)
            return self.layer(batch).sum()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    found = Tuner(trainer).scale_batch_size(Asks(), mode="power", init_val=2, steps_per_trial=1, max_val=largest)
    assert found is not None
    return min(int(found), largest)
