"""A variant of a surveyed workload to its trace: from the cache where an earlier run has left it, or traced now."""

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from perftune.errors import WorkloadError
from perftune.isolation.protocol import PRELOAD_TO_TRACE
from perftune.isolation.runner import ForkServerRunner
from perftune.plan import Variant
from perftune.planning.trace_cache import KeptTrace, TraceCache
from perftune.planning.variants import VariantKey
from perftune.planning.workload_digest import workload_digest
from perftune.records.candidate import CHECKPOINTING, OPTIMIZER, Candidate
from perftune.records.probe import ProbeSpec
from perftune.records.survey import Survey
from perftune.records.trace import Trace, TracedOptimizer, TraceRequest
from perftune.spec import workload_source

TRACED_SIZES = (1, 2, 4)
"""Micro-batches that are traced, as far as the global batch has them; every other follows from the two largest."""
FEW_SIZES = (2, 4)
"""The same where a percent or two do not matter: what follows for a micro-batch of one from these was 0 to 2 % off in
peak, and 0 to 1 % in seconds, in five shipped probes on a CPU. Each size is a quarter to a third of a large trace."""
MORE_SIZES = (1, 2, 4, 8, 16)
"""Where those two do not do the same: a micro-batch of equally long samples has no mask, and a larger one has."""
MOST_SECONDS = 600.0
"""Of one trace, where nobody says less."""
NOT_IN_KEY = {"optimizers", "deadline_seconds"}
"""Of a request: a trace with more optimizers than are asked for serves as well."""


class TracingRunner(Protocol):
    """What traces."""

    def trace(self, request: TraceRequest, number: int) -> Trace:
        """Trace one variant."""


def tracing_runner(directory: Path) -> ForkServerRunner:
    """Traces in processes that have fake tensors loaded."""
    return ForkServerRunner(directory, preload=PRELOAD_TO_TRACE)


class VariantTracer:
    """Traces the variants of one workload.

    What an optimizer does depends on the parameters, which are the same in all of them: it is traced with the first.
    """

    def __init__(
        self,
        probe: ProbeSpec,
        survey: Survey,
        kind: str,
        candidates: Iterable[Candidate],
        runner: TracingRunner,
        cache: TraceCache | None = None,
        sizes: tuple[int, ...] = TRACED_SIZES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            probe: what trains.
            survey: of it.
            kind: of the device whose rules hold, ``cuda`` or ``cpu``.
            candidates: of all variants.
            runner: what traces.
            cache: None keeps nothing.
            sizes: micro-batches to trace, as long as these do the same.
            clock: seconds.
        """
        self._probe, self._survey, self._kind, self._runner, self._clock = probe, survey, kind, runner, clock
        self._cache, self._sizes = cache, sizes
        self._digest = workload_digest(probe, survey) if cache else ""
        self._wanted = tuple(dict.fromkeys(str(candidate.settings[OPTIMIZER]) for candidate in candidates))
        self._optimizers: tuple[TracedOptimizer, ...] = ()
        self._number = 0
        self._kept: dict[VariantKey, tuple[str, KeptTrace]] = {}

    def kept(self, key: VariantKey, candidates: Collection[Candidate]) -> Variant | None:
        """The variant, if the cache has all of it."""
        return self._variant(key, candidates, self._from_cache)

    def traced(self, key: VariantKey, candidates: Collection[Candidate], seconds: float = MOST_SECONDS) -> Variant:
        """The variant, from the cache as far as that has it.

        Raises:
            WorkloadError: it cannot be traced, or not within these seconds.
        """
        ends = self._clock() + seconds

        def find(request: TraceRequest) -> tuple[str, KeptTrace]:
            return self._from_cache(request) or self._trace(request, min(ends - self._clock(), MOST_SECONDS))

        found = self._variant(key, candidates, find)
        assert found is not None
        return found

    def keep_peaks(self, key: VariantKey, variant: Variant) -> None:
        """Keep the peaks that were found since the variant was traced."""
        name, kept = self._kept[key]
        if self._cache and variant.known_peaks.keys() - kept.peaks_bytes.keys():
            kept = kept.model_copy(update={"peaks_bytes": dict(variant.known_peaks)})
            self._kept[key] = name, kept
            self._cache.put(name, kept)

    def _variant(
        self,
        key: VariantKey,
        candidates: Collection[Candidate],
        find: Callable[[TraceRequest], tuple[str, KeptTrace] | None],
    ) -> Variant | None:
        variant = None
        for request in self._requests(key, candidates):
            try:
                found = find(request)
            except WorkloadError:
                if variant is None:
                    raise
                return variant  # of the sizes that were traced at least
            if found is None:
                return None
            self._kept[key], kept = found, found[1]
            self._optimizers = self._optimizers or kept.trace.optimizers
            trace = kept.trace.model_copy(update={"optimizers": self._optimizers})
            variant = Variant(trace, known_peaks=dict(kept.peaks_bytes))
            if variant.tapes.cover(candidate.micro_batch for candidate in candidates):
                break
        return variant

    def _requests(self, key: VariantKey, candidates: Collection[Candidate]) -> Iterator[TraceRequest]:
        for sizes in (self._sizes, MORE_SIZES):
            request = trace_request(self._probe, self._survey, key, candidates, sizes)
            optimizers = () if self._optimizers else self._wanted
            yield request.model_copy(update={"optimizers": optimizers, "semantics": self._kind})

    def _trace(self, request: TraceRequest, seconds: float) -> tuple[str, KeptTrace]:
        if seconds <= 0:
            raise WorkloadError("no time was left for larger micro-batches")
        request = request.model_copy(update={"deadline_seconds": seconds})
        name, kept = self._name(request), KeptTrace(trace=self._runner.trace(request, self._number))
        self._number += 1
        if self._cache:
            self._cache.put(name, kept)
        return name, kept

    def _from_cache(self, request: TraceRequest) -> tuple[str, KeptTrace] | None:
        if self._cache is None:
            return None
        name = self._name(request)
        kept = self._cache.get(name)
        if kept is None or not {known.optim for known in kept.trace.optimizers}.issuperset(request.optimizers):
            return None
        return name, kept

    def _name(self, request: TraceRequest) -> str:
        """Under which the cache has it: of the request and of all else that its trace depends on."""
        asked = request.model_dump_json(exclude=NOT_IN_KEY)
        return hashlib.sha256(f"{asked}{self._digest}".encode()).hexdigest()


def trace_request(
    probe: ProbeSpec,
    survey: Survey,
    key: VariantKey,
    candidates: Iterable[Candidate],
    traced_sizes: Sequence[int] = TRACED_SIZES,
) -> TraceRequest:
    """The request of one variant."""
    known = sorted({candidate.micro_batch for candidate in candidates})
    largest = known[-1]
    sizes = known if largest in traced_sizes else [size for size in traced_sizes if size < largest]
    arguments: dict[str, Any] = {
        **probe.training_arguments,
        "bf16": key.is_half,
        "fp16": False,
        "tf32": None,
        CHECKPOINTING: key.checkpointing,
        "gradient_accumulation_steps": 2,
        "torch_compile": False,
    }
    return TraceRequest(
        workload=workload_source(probe),
        arguments=arguments,
        attn_implementation=key.attention,
        micro_batches=tuple(sizes),
        sample_indices=tuple(sample.index for sample in survey.worst_samples[: max(sizes)]),
        has_flash_attention=key.has_flash,
    )
