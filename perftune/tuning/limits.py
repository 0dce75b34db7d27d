"""A probe on a device to the memory that each process may take, and to what of the shell the trials leave out."""

import os

from perftune.devices import host
from perftune.errors import DeviceError
from perftune.isolation.environment import settings_of_shell
from perftune.records.probe import ProbeSpec
from perftune.records.survey import Survey
from perftune.units import format_bytes


def with_memory(probe: ProbeSpec, survey: Survey) -> ProbeSpec:
    """The limit that the probe sets, or what the device has; for the CPU, what is available now.

    Processes on a CPU have one memory, and share it.

    Raises:
        DeviceError: the device has less than that, or there are fewer devices.
    """
    limit, device, count = probe.target.memory_bytes, survey.device, probe.target.count
    if device.kind == "cuda" and count > device.count:
        raise DeviceError(
            f"{probe.source_path}: target.count is {count}, and of {device.name} there are {device.count} here; "
            "lower target.count"
        )
    sharers = count if device.kind == "cpu" else 1
    if limit is None:
        limit = host.available_memory_bytes() // sharers if device.kind == "cpu" else device.memory_bytes
    elif limit * sharers > device.memory_bytes:
        each = f" for each of {sharers} processes, which share one memory" if sharers > 1 else ""
        raise DeviceError(
            f"{probe.source_path}: target.memory is {format_bytes(limit)}{each}, and {device.name} has "
            f"{format_bytes(device.memory_bytes)}; name a limit of at most "
            f"{format_bytes(device.memory_bytes // sharers)}, or leave it out"
        )
    return probe.model_copy(update={"target": probe.target.model_copy(update={"memory_bytes": limit})})


def shared_memory(probe: ProbeSpec, survey: Survey) -> tuple[str, ...]:
    """What the report says of it, where there is more than one process."""
    limit, count = probe.target.memory_bytes, probe.target.count
    if limit is None or count == 1 or survey.device.kind != "cpu":
        return ()
    said = (
        f"{count} processes share the memory of this machine: each may take {format_bytes(limit)}, all together "
        f"{format_bytes(count * limit)}"
    )
    return (said,)


def left_out_of_shell() -> tuple[str, ...]:
    """What the report says of settings that the user's shell has and trials do not take over."""
    left_out = settings_of_shell(os.environ)
    if not left_out:
        return ()
    said = (
        f"your shell has {' '.join(f'{name}={value}' for name, value in left_out.items())}, which the trials do not "
        "take over: what your own run takes from it belongs into training_arguments, such as `bf16: true`"
    )
    return (said,)
