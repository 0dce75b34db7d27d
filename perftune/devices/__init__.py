"""The device at hand: what it is, how much memory is in use, and how a trial is kept within its share of it.

Nothing is imported here that imports torch; `training_device("cuda")` does when it is called.
"""

from perftune.devices.by_kind import training_device
from perftune.devices.training_device import Peak, TrainingDevice

__all__ = ["Peak", "TrainingDevice", "training_device"]
