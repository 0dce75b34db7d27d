"""The hardware and the software that a study was measured with."""

from perftune.records.base import Record


class Device(Record):
    """One kind of device, as seen on this machine. What is unknown is None, never a guess."""

    kind: str
    """``cpu`` or ``cuda``."""
    name: str
    """As the maker calls it."""
    count: int = 1
    memory_bytes: int
    """Total of one device; for the CPU, of the machine."""
    num_cores: int | None = None
    """CPU cores that this process may use."""
    instruction_sets: tuple[str, ...] = ()
    """CPU: those that matter for training, of avx2, avx512f, avx512_bf16, amx_bf16, …"""
    compute_capability: tuple[int, int] | None = None
    driver: str | None = None


class Versions(Record):
    """The software that decides what a number means."""

    python: str
    perftune: str
    packages: dict[str, str]
    """torch, transformers, accelerate and others that were found, by distribution name."""
