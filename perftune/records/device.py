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


class Telemetry(Record):
    """The state of a GPU at one moment; what the driver does not tell is None."""

    sm_clock_mhz: int | None
    max_sm_clock_mhz: int | None
    temperature_celsius: int | None
    power_watts: float | None
    throttle_reasons: tuple[str, ...]
    num_other_processes: int | None
    """Processes of others that compute on this GPU: what disturbs a measurement. None where the driver does not list
    the asking process itself, as in a container: then nobody can be told apart."""
    other_processes_bytes: int | None
    """What those hold, as far as the driver tells."""


class Versions(Record):
    """The software that decides what a number means."""

    python: str
    perftune: str
    packages: dict[str, str]
    """torch, transformers, accelerate and others that were found, by distribution name."""
