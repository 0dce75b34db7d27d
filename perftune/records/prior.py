"""What traces say of the candidates of a study before the first trial: peak memory, and seconds by what binds them."""

from pydantic import Field

from perftune.records.base import Record, Setting


class Predicted(Record):
    """Candidates that agree in these settings; the other knobs are not in a trace."""

    settings: dict[str, Setting]
    peak_memory_bytes: int
    """In the words of `MemoryPeak.peak_bytes`: resident over the start on the CPU, reserved on CUDA."""
    kernel_seconds: float | None = None
    """What the arithmetic of forward and backward takes, per optimizer step; None: the device's rates are unknown."""
    host_seconds: float | None = None
    """What launching it takes: operators times seconds each."""
    optimizer_seconds: float | None = None
    is_traced: bool = True
    """Its own variant was traced; else this follows from the nearest one that was."""


class Prior(Record):
    """The predictions of one space."""

    knobs: tuple[str, ...]
    """What a trace depends on, of the space's knobs."""
    predicted: tuple[Predicted, ...] = Field(min_length=1)
    runs_ahead: bool
    """The host launches ahead of the device, as on CUDA: a step takes the longer of the two and not their sum."""
    has_rates: bool
    """Whether seconds are in the device's own rates; else only their proportions at one precision mean something."""
    seconds: float
    """What the traces took."""
    notes: tuple[str, ...] = ()

    def of(self, settings: dict[str, Setting]) -> Predicted | None:
        """What is predicted of a candidate's settings."""
        wanted = {name: settings.get(name) for name in self.knobs}
        return next((known for known in self.predicted if known.settings == wanted), None)

    def step_seconds(self, predicted: Predicted) -> float | None:
        """Of one optimizer step; None where seconds are proportions only."""
        kernels, host = predicted.kernel_seconds, predicted.host_seconds
        if not self.has_rates or kernels is None or host is None:
            return None
        return (max(kernels, host) if self.runs_ahead else kernels + host) + (predicted.optimizer_seconds or 0.0)
