"""Which exceptions say that memory ran out."""

import errno

import pytest

from perftune.devices import training_device
from perftune.devices.cpu import CpuTrainingDevice
from perftune.errors import DeviceError


def raised_from(cause: BaseException) -> RuntimeError:
    try:
        raise RuntimeError("the model could not be built") from cause
    except RuntimeError as error:
        return error


TORCH_ON_CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "268435456 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(
    "error",
    [
        TORCH_ON_CPU,
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError(f"Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback: {TORCH_ON_CPU}"),
        RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2>: No space left on device (28)"),
        raised_from(TORCH_ON_CPU),
        raised_from(MemoryError()),
    ],
    ids=str,
)
def test_out_of_memory_on_the_cpu(error: BaseException) -> None:
    assert CpuTrainingDevice().is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("std::bad_alloc is a funny label"),
        KeyboardInterrupt(),
        RuntimeError("DataLoader worker (pid 123) is killed by signal: Segmentation fault. "),
        RuntimeError("DataLoader worker (pid 123) is killed by signal: Killed. "),
        RuntimeError("can't start new thread"),
    ],
    ids=str,
)
def test_other_errors(error: BaseException) -> None:
    assert not CpuTrainingDevice().is_out_of_memory(error)


def test_a_circle_of_causes_ends() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert not CpuTrainingDevice().is_out_of_memory(first)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(DeviceError, match="use cpu or cuda"):
        training_device("tpu")
