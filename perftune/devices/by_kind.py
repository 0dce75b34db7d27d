"""The name of a kind of device to that device, in the process that trains."""

from perftune.devices.training_device import TrainingDevice
from perftune.errors import DeviceError


def training_device(kind: str) -> TrainingDevice:
    """The device of a kind, in the process that trains; ``cuda`` imports torch.

    Raises:
        DeviceError: the kind is unknown, or the device is not there.
    """
    if kind == "cpu":
        from perftune.devices.cpu import CpuTrainingDevice

        return CpuTrainingDevice()
    if kind == "cuda":
        from perftune.devices.cuda import CudaTrainingDevice

        return CudaTrainingDevice()
    raise DeviceError(f"device {kind!r} is not one that perftune can train on; use cpu or cuda")
