"""The CUDA module on a stand-in of the few functions of torch.cuda and NVML that it calls."""

from types import SimpleNamespace
from typing import Any

import pytest

from perftune.devices import TrainingDevice, cuda
from perftune.errors import DeviceError
from perftune.units import GIB, MIB


class GpuOutOfMemoryError(RuntimeError):
    pass


class FakeEvent:
    def __init__(self, gpu: "FakeCuda") -> None:
        self.gpu = gpu
        self.milliseconds = -1.0

    def record(self) -> None:
        self.milliseconds = self.gpu.milliseconds

    def elapsed_time(self, later: "FakeEvent") -> float:
        return later.milliseconds - self.milliseconds


class FakeCuda:
    """A GPU with a caching allocator that never gives anything back by itself."""

    OutOfMemoryError = GpuOutOfMemoryError

    def __init__(self, *names: str, capability: tuple[int, int] = (9, 0), total_bytes: int = 80 * GIB) -> None:
        self.names = names
        self.capability = capability
        self.total_bytes = total_bytes
        self.milliseconds = 0.0
        self.fraction = 1.0
        self.allocated_bytes = self.reserved_bytes = self.peak_allocated_bytes = self.peak_reserved_bytes = 0
        self.num_synchronized = 0

    def is_available(self) -> bool:
        return bool(self.names)

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return len(self.names)

    def get_device_properties(self, index: int) -> Any:
        major, minor = self.capability
        return SimpleNamespace(
            name=self.names[index], total_memory=self.total_bytes, major=major, minor=minor, uuid=f"uuid-{index}"
        )

    def mem_get_info(self) -> tuple[int, int]:
        return self.total_bytes - self.reserved_bytes, self.total_bytes

    def set_per_process_memory_fraction(self, fraction: float) -> None:
        assert isinstance(fraction, float)
        assert 0 <= fraction <= 1
        self.fraction = fraction

    def synchronize(self) -> None:
        self.num_synchronized += 1

    def Event(self, enable_timing: bool) -> FakeEvent:  # noqa: N802
        assert enable_timing
        return FakeEvent(self)

    def allocate(self, num_bytes: int) -> None:
        if self.allocated_bytes + num_bytes > self.fraction * self.total_bytes:
            raise GpuOutOfMemoryError("CUDA out of memory. Tried to allocate …")
        self.allocated_bytes += num_bytes
        self.reserved_bytes = max(self.reserved_bytes, self.allocated_bytes)
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)

    def free(self, num_bytes: int) -> None:
        self.allocated_bytes -= num_bytes

    def memory_reserved(self) -> int:
        return self.reserved_bytes

    def reset_peak_memory_stats(self) -> None:
        self.peak_allocated_bytes, self.peak_reserved_bytes = self.allocated_bytes, self.reserved_bytes

    def memory_stats(self) -> dict[str, int]:
        return {
            "allocated_bytes.all.peak": self.peak_allocated_bytes,
            "reserved_bytes.all.peak": self.peak_reserved_bytes,
            "num_alloc_retries": 3,
        }

    def empty_cache(self) -> None:
        self.reserved_bytes = self.allocated_bytes


def fake_torch(gpu: FakeCuda, cuda_version: str | None = "13.0") -> Any:
    return SimpleNamespace(cuda=gpu, version=SimpleNamespace(cuda=cuda_version))


class FakeNvml:
    """A driver that knows some things and not others."""

    class NVMLError(Exception):
        pass

    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0

    def __init__(
        self, has_driver: bool = True, knows_power: bool = True, uuids: tuple[str, ...] = ("GPU-uuid-0",)
    ) -> None:
        self.has_driver = has_driver
        self.knows_power = knows_power
        self.uuids = uuids
        self.num_open = 0

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.has_driver:
            raise self.NVMLError("NVML Shared Library Not Found")
        self.num_open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.num_open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.65"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid not in self.uuids:
            raise self.NVMLError("Not Found")
        return uuid

    def nvmlDeviceGetClockInfo(self, handle: str, clock: int) -> int:  # noqa: N802
        return 1200

    def nvmlDeviceGetMaxClockInfo(self, handle: str, clock: int) -> int:  # noqa: N802
        return 1980

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:  # noqa: N802
        return 71

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        if not self.knows_power:
            raise self.NVMLError("Not Supported")
        return 350_500

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:  # noqa: N802
        return 0x01 | 0x04 | 0x40

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:  # noqa: N802
        return [
            SimpleNamespace(pid=10, usedGpuMemory=5 * GIB),
            SimpleNamespace(pid=11, usedGpuMemory=2 * GIB),
            SimpleNamespace(pid=12, usedGpuMemory=None),
        ]


def test_a_gpu_is_described() -> None:
    gpu = fake_torch(FakeCuda("NVIDIA H100", "NVIDIA H100", "NVIDIA T4"))
    device = cuda.device(0, gpu, FakeNvml())
    assert (device.kind, device.name, device.count) == ("cuda", "NVIDIA H100", 2)
    assert (device.memory_bytes, device.compute_capability, device.driver) == (80 * GIB, (9, 0), "580.65")


def test_a_gpu_without_nvml_has_no_driver_version() -> None:
    assert cuda.device(0, fake_torch(FakeCuda("GPU")), FakeNvml(has_driver=False)).driver is None


@pytest.mark.parametrize(
    ("torch_", "reason"),
    [
        (fake_torch(FakeCuda("GPU"), cuda_version=None), "build of torch has no CUDA"),
        (fake_torch(FakeCuda()), "finds no CUDA GPU"),
    ],
)
def test_no_gpu_is_an_error_that_says_why(torch_: Any, reason: str) -> None:
    assert reason in str(cuda.why_unavailable(torch_))
    with pytest.raises(DeviceError, match=reason):
        cuda.device(0, torch_, FakeNvml())
    with pytest.raises(DeviceError, match=reason):
        cuda.CudaTrainingDevice(torch_)


def test_a_gpu_too_many_is_an_error() -> None:
    with pytest.raises(DeviceError, match="torch sees 1"):
        cuda.device(1, fake_torch(FakeCuda("GPU")), FakeNvml())


@pytest.mark.parametrize(
    ("capability", "unsupported"),
    [((9, 0), set()), ((8, 0), set()), ((7, 5), {"bf16", "tf32"}), ((5, 2), {"bf16", "tf32", "fp16"})],
)
def test_a_precision_is_refused_with_the_reason(capability: tuple[int, int], unsupported: set[str]) -> None:
    gpu = fake_torch(FakeCuda("Some GPU", capability=capability))
    reasons = {name: cuda.why_unsupported(name, 0, gpu) for name in ("fp32", "tf32", "bf16", "fp16")}
    assert {name for name, reason in reasons.items() if reason} == unsupported
    for name in unsupported:
        assert f"Some GPU has {capability[0]}.{capability[1]}" in str(reasons[name])


def test_the_cap_makes_the_allocator_run_out_and_lifting_it_does_not() -> None:
    gpu = FakeCuda("GPU")
    device = cuda.CudaTrainingDevice(fake_torch(gpu))
    device.cap(20 * GIB)
    assert gpu.fraction == pytest.approx(0.25)
    with pytest.raises(GpuOutOfMemoryError) as caught:
        gpu.allocate(21 * GIB)
    assert device.is_out_of_memory(caught.value)
    device.lift_cap()
    gpu.allocate(21 * GIB)
    device.cap(200 * GIB)
    assert gpu.fraction == 1.0


def test_the_peak_tells_allocated_from_reserved_and_is_reset() -> None:
    gpu = FakeCuda("GPU")
    device = cuda.CudaTrainingDevice(fake_torch(gpu))
    gpu.allocate(300 * MIB)
    gpu.free(200 * MIB)
    peak = device.peak()
    assert (peak.bytes, peak.reserved_bytes, peak.allocated_bytes) == (300 * MIB, 300 * MIB, 300 * MIB)
    assert peak.num_alloc_retries == 3
    assert device.reset_peak()
    assert (device.peak().allocated_bytes, device.peak_bytes()) == (100 * MIB, 300 * MIB)
    device.empty_cache()
    device.reset_peak()
    assert device.peak_bytes() == device.used_bytes() == 100 * MIB


def test_seconds_are_those_of_the_events() -> None:
    gpu = FakeCuda("GPU")
    device = cuda.CudaTrainingDevice(fake_torch(gpu))
    start = device.mark()
    gpu.milliseconds = 1500.0
    end = device.mark()
    device.synchronize()
    assert device.seconds_between(start, end) == 1.5
    assert gpu.num_synchronized == 1


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA driver error: out of memory",
        "Triton Error [CUDA]: out of memory",
        "NCCL error: ncclUnhandledCudaError … Cuda failure 2 'out of memory'",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes",
    ],
)
def test_every_library_below_torch_can_run_out(text: str) -> None:
    assert cuda.CudaTrainingDevice(fake_torch(FakeCuda("GPU"))).is_out_of_memory(RuntimeError(text))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("out of resource: shared memory, Required: 106496, Hardware limit: 101376"),
        RuntimeError("CUDA error: device-side assert triggered"),
        ValueError("CUDA out of memory"),
    ],
    ids=str,
)
def test_other_errors_of_a_gpu(error: BaseException) -> None:
    assert not cuda.CudaTrainingDevice(fake_torch(FakeCuda("GPU"))).is_out_of_memory(error)


def test_the_out_of_memory_type_of_torch_is_the_one_looked_for() -> None:
    import torch

    gpu = FakeCuda("GPU")
    gpu.OutOfMemoryError = torch.OutOfMemoryError  # type: ignore[assignment]
    assert cuda.CudaTrainingDevice(fake_torch(gpu)).is_out_of_memory(torch.OutOfMemoryError("whatever it says"))
    assert torch.cuda.OutOfMemoryError is torch.OutOfMemoryError


def test_telemetry_counts_the_processes_of_others() -> None:
    nvml = FakeNvml()
    seen = cuda.telemetry(frozenset({10}), 0, fake_torch(FakeCuda("GPU")), nvml)
    assert seen is not None
    assert (seen.sm_clock_mhz, seen.max_sm_clock_mhz, seen.temperature_celsius) == (1200, 1980, 71)
    assert seen.power_watts == 350.5
    assert seen.throttle_reasons == ("power cap", "too hot (hardware)")
    assert (seen.num_other_processes, seen.other_processes_bytes) == (2, 2 * GIB)
    assert nvml.num_open == 0


def test_what_the_driver_does_not_tell_is_none() -> None:
    gpu = fake_torch(FakeCuda("GPU"))
    seen = cuda.telemetry(frozenset(), 0, gpu, FakeNvml(knows_power=False))
    assert seen is not None
    assert seen.power_watts is None
    assert (seen.num_other_processes, seen.other_processes_bytes) == (None, None)
    assert cuda.telemetry(frozenset(), 0, gpu, FakeNvml(has_driver=False)) is None
    assert cuda.telemetry(frozenset(), 0, gpu, FakeNvml(uuids=("MIG-other",))) is None


def test_a_training_gpu_tells_of_itself() -> None:
    seen = cuda.CudaTrainingDevice(fake_torch(FakeCuda("GPU")), FakeNvml()).telemetry()
    assert seen is not None
    assert seen.temperature_celsius == 71


def test_the_device_is_a_training_device() -> None:
    device: TrainingDevice = cuda.CudaTrainingDevice(fake_torch(FakeCuda("GPU")))
    assert (device.kind, device.memory_kind) == ("cuda", "allocated")


def test_what_is_called_is_there_in_the_installed_torch_and_nvml() -> None:
    """The stand-ins have nothing that the real modules lack."""
    import pynvml
    import torch

    calls = {name for name in vars(FakeCuda) if not name.startswith("_")} - {"allocate", "free"}
    assert {name for name in calls if not hasattr(torch.cuda, name)} == set()
    assert {name for name in vars(FakeNvml) if not name.startswith("_") and not hasattr(pynvml, name)} == set()
    assert pynvml.NVML_CLOCK_SM == FakeNvml.NVML_CLOCK_SM
    assert {
        pynvml.nvmlClocksThrottleReasonSwPowerCap,
        pynvml.nvmlClocksThrottleReasonHwSlowdown,
        pynvml.nvmlClocksThrottleReasonSyncBoost,
        pynvml.nvmlClocksThrottleReasonSwThermalSlowdown,
        pynvml.nvmlClocksThrottleReasonHwThermalSlowdown,
        pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
    } == set(cuda.THROTTLE_REASONS)
