"""A Trainer's model to the same model without dropout, still in training mode. Child side.

Two candidates with unlike micro-batches draw unlike dropout masks, and their first gradients differ by a good part
though nothing is wrong. So, where chance is all that stands between two gradients, both are taken once more in a
process of their own, of one step, with dropout at zero. Not ``model.eval()``: it also changes batch norm, activation
checkpointing and caches, and a Trainer's step puts the model back into training mode. Nor a step before the measured
ones with all undone afterwards: what the user's code counts and keeps cannot be undone, and neither can a compiled
graph or the peak of the memory. Whether it worked is not believed but seen: the step draws no random numbers then.
"""

from typing import Any

from torch import nn

WORD = "drop"
"""In the name of every rate of dropout, of layers and of paths too: ``p`` of torch's own modules is the exception."""
DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def without_dropout(trainer: Any) -> None:
    """Set every rate of dropout to zero, in place: those of modules and those that their configurations hold."""
    for module in trainer.model.modules():
        if isinstance(module, DROPOUT):
            module.p = 0.0
        for holder in (module, getattr(module, "config", None)):
            _without(holder)


def _without(holder: object) -> None:
    rates = [name for name, value in getattr(holder, "__dict__", {}).items() if WORD in name and type(value) is float]
    for name in rates:
        setattr(holder, name, 0.0)
