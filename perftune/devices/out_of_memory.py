"""An exception to whether it says that memory ran out: by type first, by the texts that are the only sign second."""

import errno
from collections.abc import Iterator

HOST_TEXTS = (
    "DefaultCPUAllocator: can't allocate memory",  # c10/core/impl/alloc_cpu.cpp
    "DefaultCPUAllocator: not enough memory",  # the same, on Windows
    "std::bad_alloc",
    "Cannot allocate memory",  # strerror(ENOMEM)
    "unable to allocate shared memory(shm)",  # torch's MapAllocator.cpp: /dev/shm is full
    "workers are out of shared memory",  # torch/csrc/DataLoader.cpp: a worker was ended by SIGBUS
)
"""What libraries say when memory on the CPU runs out and they raise no MemoryError."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it was raised from (``raise … from …``), the newest first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def says(error: BaseException, texts: tuple[str, ...]) -> bool:
    """Whether a RuntimeError carries one of the texts; other types do not speak for an allocator."""
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)


def is_host_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the process ran out: MemoryError, ENOMEM, or a RuntimeError with one of `HOST_TEXTS`."""
    return any(
        isinstance(cause, MemoryError)
        or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        or says(cause, HOST_TEXTS)
        for cause in causes(error)
    )
