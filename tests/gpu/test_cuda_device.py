"""The CUDA module on a real GPU."""

import os
from collections.abc import Iterator

import pytest
import torch

from perftune.devices import TrainingDevice, cuda, training_device
from perftune.units import GIB, MIB


@pytest.fixture
def gpu() -> Iterator[TrainingDevice]:
    device = training_device("cuda")
    device.empty_cache()
    device.reset_peak()
    yield device
    device.lift_cap()
    device.empty_cache()


def test_the_device_is_what_torch_sees() -> None:
    device = cuda.device()
    properties = torch.cuda.get_device_properties(0)
    assert device.name == properties.name
    assert device.memory_bytes == properties.total_memory
    assert 1 <= device.count <= torch.cuda.device_count()
    assert device.driver


def test_over_the_cap_is_out_of_memory_and_within_it_is_not(gpu: TrainingDevice) -> None:
    gpu.cap(GIB)
    block = torch.empty(GIB // 2, dtype=torch.uint8, device="cuda")
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(2 * GIB, dtype=torch.uint8, device="cuda")
    assert gpu.is_out_of_memory(caught.value)
    gpu.lift_cap()
    assert block.numel() + torch.empty(2 * GIB, dtype=torch.uint8, device="cuda").numel() == 5 * GIB // 2


def test_running_out_of_the_whole_gpu_is_out_of_memory(gpu: TrainingDevice) -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2 * cuda.device().memory_bytes, dtype=torch.uint8, device="cuda")
    assert gpu.is_out_of_memory(caught.value)


def test_another_error_is_another_error(gpu: TrainingDevice) -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2, 3, device="cuda") @ torch.ones(2, 3, device="cuda")
    assert not gpu.is_out_of_memory(caught.value)


def test_the_peak_is_what_was_allocated_and_repeats(gpu: TrainingDevice) -> None:
    def peak() -> int | None:
        gpu.empty_cache()
        gpu.reset_peak()
        before = torch.cuda.memory_allocated()
        block = torch.empty(256 * MIB, dtype=torch.uint8, device="cuda")
        del block
        seen = gpu.peak()
        assert seen.allocated_bytes is not None
        assert seen.bytes >= seen.allocated_bytes
        return seen.allocated_bytes - before

    assert [peak() for _ in range(3)] == [256 * MIB] * 3


def test_events_measure_the_work_and_not_its_launch(gpu: TrainingDevice) -> None:
    matrix = torch.randn(4096, 4096, device="cuda")

    def seconds(repeats: int) -> float:
        gpu.synchronize()
        start = gpu.mark()
        for _ in range(repeats):
            matrix @ matrix
        end = gpu.mark()
        gpu.synchronize()
        return gpu.seconds_between(start, end)

    seconds(10)
    assert seconds(200) > 4 * seconds(10)


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_a_supported_precision_is_faster_than_fp32(gpu: TrainingDevice, precision: str) -> None:
    reason = cuda.why_unsupported(precision)
    if reason is not None or torch.cuda.get_device_capability() < (7, 0):
        pytest.skip(reason or "no tensor cores")
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)

    def seconds(dtype: torch.dtype, *, allow_tf32: bool) -> float:
        matrix = torch.randn(4096, 4096, device="cuda").to(dtype)
        torch.backends.cuda.matmul.allow_tf32 = allow_tf32
        try:
            times = []
            for _ in range(20):
                start = gpu.mark()
                matrix @ matrix
                end = gpu.mark()
                gpu.synchronize()
                times.append(gpu.seconds_between(start, end))
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False
        return min(times)

    assert seconds(torch.float32, allow_tf32=False) > 1.5 * seconds(dtype, allow_tf32=precision == "tf32")


def test_telemetry_knows_this_process() -> None:
    torch.ones(1, device="cuda")
    seen = cuda.telemetry(frozenset({os.getpid()}), torch.cuda.current_device())
    if seen is None:
        pytest.skip("NVML does not know this GPU (MIG, or no driver library)")
    assert seen.sm_clock_mhz is None or seen.sm_clock_mhz > 0
    assert seen.num_other_processes is None or seen.num_other_processes >= 0
