"""CUDA GPUs as training devices: the one module that calls torch.cuda and NVML, imported only where training happens.

Each function takes what it calls as its last arguments, so that a stand-in of just those functions can be passed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pynvml
import torch

from perftune.devices.out_of_memory import causes, is_host_out_of_memory, says
from perftune.devices.training_device import Peak
from perftune.errors import DeviceError
from perftune.records.device import Device, Telemetry

OUT_OF_MEMORY_TEXTS = (
    "CUDA out of memory",  # c10/cuda/CUDACachingAllocator.cpp, where its type was lost on the way
    "CUDA error: out of memory",  # cudaErrorMemoryAllocation, raised by whatever call came next
    "CUDA driver error: out of memory",  # CUDA_ERROR_OUT_OF_MEMORY: expandable segments, Inductor
    "Triton Error [CUDA]: out of memory",
    "'out of memory'",  # NCCL: Cuda failure 2 'out of memory'
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUSPARSE_STATUS_ALLOC_FAILED",
)
"""What the libraries below torch say when memory of the GPU ran out and no OutOfMemoryError is raised."""

MIN_CAPABILITY = {"fp16": (5, 3), "bf16": (8, 0), "tf32": (8, 0)}
"""Compute capability from which a precision is native; older GPUs emulate bf16, slower than fp32.

Source: CUDA C++ Programming Guide, "Arithmetic Instructions" and "Tensor Cores"."""

THROTTLE_REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x10: "synchronised to another GPU",
    0x20: "too hot (software)",
    0x40: "too hot (hardware)",
    0x80: "power brake",
}
"""Bits of nvmlDeviceGetCurrentClocksThrottleReasons that mean slower than this GPU can be. Source: nvml.h."""


def why_unavailable(torch_: Any = torch) -> str | None:
    """Why this process cannot train on CUDA; None if it can."""
    if torch_.version.cuda is None:
        return "this build of torch has no CUDA; install one that has (pytorch.org/get-started)"
    if not torch_.cuda.is_available():
        return "torch finds no CUDA GPU; see whether nvidia-smi lists one and CUDA_VISIBLE_DEVICES does not hide it"
    return None


def device(index: int = 0, torch_: Any = torch, nvml: Any = pynvml) -> Device:
    """A GPU of this machine, with the number of its likes.

    Raises:
        DeviceError: there is no such GPU.
    """
    reason = why_unavailable(torch_)
    if reason is not None:
        raise DeviceError(f"target.device is cuda, but {reason}; or set target.device: cpu")
    count = torch_.cuda.device_count()
    if index >= count:
        raise DeviceError(f"GPU {index} was asked for, but torch sees {count}; lower target.count")
    properties = torch_.cuda.get_device_properties(index)
    alike = [torch_.cuda.get_device_properties(i).name == properties.name for i in range(count)]
    return Device(
        kind="cuda",
        name=properties.name,
        count=sum(alike),
        memory_bytes=properties.total_memory,
        compute_capability=(properties.major, properties.minor),
        driver=driver_version(nvml),
    )


def why_unsupported(precision: str, index: int = 0, torch_: Any = torch) -> str | None:
    """Why a GPU cannot gain from a precision (fp32, tf32, bf16, fp16); None if it can."""
    needed = MIN_CAPABILITY.get(precision)
    if needed is None:
        return None
    properties = torch_.cuda.get_device_properties(index)
    if (properties.major, properties.minor) >= needed:
        return None
    return (
        f"{precision} needs a GPU of compute capability {needed[0]}.{needed[1]} or higher; "
        f"{properties.name} has {properties.major}.{properties.minor}"
    )


def driver_version(nvml: Any = pynvml) -> str | None:
    """The version of the NVIDIA driver; None where there is none."""
    with _nvml_session(nvml) as is_there:
        return str(nvml.nvmlSystemGetDriverVersion()) if is_there else None


def telemetry(own_pids: frozenset[int], index: int, torch_: Any = torch, nvml: Any = pynvml) -> Telemetry | None:
    """What a GPU is doing now; None where NVML does not know it.

    Args:
        own_pids: processes that are not counted as others.
        index: the GPU as torch counts them; NVML, which knows nothing of CUDA_VISIBLE_DEVICES, is asked by UUID.
    """
    with _nvml_session(nvml) as is_there:
        if not is_there:
            return None
        try:
            handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch_.cuda.get_device_properties(index).uuid}")
        except nvml.NVMLError:
            return None
        return _read_telemetry(handle, own_pids, nvml)


def _read_telemetry(handle: Any, own_pids: frozenset[int], nvml: Any) -> Telemetry:
    def ask(function: str, *args: Any) -> Any:
        try:
            return getattr(nvml, function)(handle, *args)
        except nvml.NVMLError:
            return None

    milliwatts = ask("nvmlDeviceGetPowerUsage")
    reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
    processes = ask("nvmlDeviceGetComputeRunningProcesses") or []
    others = [process for process in processes if process.pid not in own_pids]
    is_told_apart = len(others) < len(processes)
    return Telemetry(
        sm_clock_mhz=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        max_sm_clock_mhz=ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
        temperature_celsius=ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        power_watts=None if milliwatts is None else milliwatts / 1000,
        throttle_reasons=tuple(text for bit, text in THROTTLE_REASONS.items() if reasons & bit),
        num_other_processes=len(others) if is_told_apart else None,
        other_processes_bytes=sum(process.usedGpuMemory or 0 for process in others) if is_told_apart else None,
    )


@contextmanager
def _nvml_session(nvml: Any) -> Iterator[bool]:
    """NVML started and ended; False where there is no driver."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        yield False
        return
    try:
        yield True
    finally:
        nvml.nvmlShutdown()


class CudaTrainingDevice:
    """The GPU that this process trains on: torch's current one."""

    kind = "cuda"
    memory_kind = "allocated"

    def __init__(self, torch_: Any = torch, nvml: Any = pynvml) -> None:
        """
        Raises:
            DeviceError: there is no GPU here.
        """
        reason = why_unavailable(torch_)
        if reason is not None:
            raise DeviceError(f"target.device is cuda, but {reason}; or set target.device: cpu")
        self._torch, self._cuda, self._nvml = torch_, torch_.cuda, nvml

    def synchronize(self) -> None:
        """Wait for every stream of the GPU."""
        self._cuda.synchronize()

    def mark(self) -> Any:
        """An event in the current stream; recording it does not wait."""
        event = self._cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds_between(self, start: Any, end: Any) -> float:
        """Seconds of the GPU's own clock between two events that have passed."""
        return float(start.elapsed_time(end)) / 1000

    def used_bytes(self) -> int:
        """Bytes that the caching allocator has reserved."""
        return int(self._cuda.memory_reserved())

    def reset_peak(self) -> bool:
        """Start new peaks of allocated and reserved bytes; retries go on being counted."""
        self._cuda.reset_peak_memory_stats()
        return True

    def peak(self) -> Peak:
        """The allocator's peaks. The CUDA context and what NCCL, cuBLAS or other processes hold is in none of them."""
        stats = self._cuda.memory_stats()
        reserved = int(stats.get("reserved_bytes.all.peak", 0))
        return Peak(
            bytes=reserved,
            allocated_bytes=int(stats.get("allocated_bytes.all.peak", 0)),
            reserved_bytes=reserved,
            num_alloc_retries=int(stats.get("num_alloc_retries", 0)),
        )

    def peak_bytes(self) -> int:
        """The peak of reserved bytes."""
        return self.peak().bytes

    def empty_cache(self) -> None:
        """Give reserved but unused memory back to the GPU."""
        self._cuda.empty_cache()

    def cap(self, limit_bytes: int) -> None:
        """Let the caching allocator reserve no more than this; a limit of all memory or more is none."""
        total = self._cuda.mem_get_info()[1]
        self._cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / total))

    def lift_cap(self) -> None:
        """Let the caching allocator reserve all memory."""
        self._cuda.set_per_process_memory_fraction(1.0)

    def telemetry(self) -> Telemetry | None:
        """What NVML says of the GPU now."""
        return telemetry(frozenset({os.getpid()}), self._cuda.current_device(), self._torch, self._nvml)

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether the memory of the GPU, or of the process beside it, ran out."""
        if is_host_out_of_memory(error):
            return True
        return any(
            isinstance(cause, self._cuda.OutOfMemoryError) or says(cause, OUT_OF_MEMORY_TEXTS)
            for cause in causes(error)
        )
