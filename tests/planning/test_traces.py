"""What is traced, with which seconds, and what a cache spares."""

from pathlib import Path

import pytest

from perftune.errors import WorkloadError
from perftune.planning.trace_cache import TraceCache
from perftune.planning.traces import MOST_SECONDS, VariantTracer
from perftune.planning.variants import VariantKey
from perftune.records.candidate import Candidate
from perftune.records.probe import ProbeSpec
from perftune.records.trace import Trace, TraceRequest
from perftune.search import build_space
from tests.plan.test_estimate import with_work
from tests.tuning.scripted import ScriptedRunner, probe, survey

OWN, SAVING = VariantKey(False, False, "sdpa", False), VariantKey(False, True, "sdpa", False)
OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "adamw_bnb_8bit")


def traced(request: TraceRequest) -> Trace:
    """The step by hand; optimizers as far as they are asked for."""
    made = with_work("fp32", 1e9).trace
    (known,) = made.optimizers
    return made.model_copy(
        update={"optimizers": tuple(known.model_copy(update={"optim": name}) for name in request.optimizers)}
    )


def candidates(*sizes: int) -> list[Candidate]:
    base = build_space(probe(), survey()).base
    return [base.replace(per_device_train_batch_size=size, optim=name) for size in sizes for name in OPTIMIZERS]


def tracer(runner: ScriptedRunner, cache: TraceCache | None = None, spec: ProbeSpec | None = None) -> VariantTracer:
    return VariantTracer(spec or probe(), survey(), "cpu", candidates(8), runner, cache, clock=lambda: 0.0)


def test_optimizers_are_traced_with_the_first_and_known_of_all() -> None:
    runner = ScriptedRunner(traced=traced)
    own = tracer(runner)
    first, second = own.traced(OWN, candidates(8)), own.traced(SAVING, candidates(8))
    assert [request.optimizers for request in runner.traces] == [OPTIMIZERS, ()]
    assert set(first.optimizers) == set(second.optimizers) == set(OPTIMIZERS)
    assert first.trace.optimizers == second.trace.optimizers


def test_a_trace_has_the_seconds_that_it_is_given_and_never_more_than_the_most() -> None:
    runner = ScriptedRunner(traced=traced)
    tracer(runner).traced(OWN, candidates(8), seconds=12.5)
    tracer(runner).traced(OWN, candidates(8), seconds=float("inf"))
    assert [request.deadline_seconds for request in runner.traces] == [12.5, MOST_SECONDS]


def test_another_run_finds_what_was_traced_and_traces_nothing(tmp_path: Path) -> None:
    first = tracer(ScriptedRunner(traced=traced), TraceCache(tmp_path))
    own, saving = first.traced(OWN, candidates(8)), first.traced(SAVING, candidates(8))
    runner = ScriptedRunner(traced=traced)
    again = tracer(runner, TraceCache(tmp_path))
    found = again.kept(OWN, candidates(8)), again.kept(SAVING, candidates(8))
    assert [variant and variant.trace for variant in found] == [own.trace, saving.trace]
    assert again.traced(OWN, candidates(8), seconds=0.0).trace == own.trace, "which takes no time"
    assert runner.traces == []


def test_a_trace_without_the_optimizers_that_are_asked_for_is_made_again(tmp_path: Path) -> None:
    first = tracer(ScriptedRunner(traced=traced), TraceCache(tmp_path))
    first.traced(OWN, candidates(8))
    first.traced(SAVING, candidates(8))
    runner = ScriptedRunner(traced=traced)
    other = tracer(runner, TraceCache(tmp_path))
    assert other.kept(SAVING, candidates(8)) is None, "it was traced second, and so without optimizers"
    assert set(other.traced(SAVING, candidates(8)).optimizers) == set(OPTIMIZERS)
    assert [request.optimizers for request in runner.traces] == [OPTIMIZERS]


@pytest.mark.parametrize(
    ("spec", "is_found"),
    [
        (probe(training_arguments={"learning_rate": 1e-3, "max_grad_norm": 0.0}), False),
        (probe(build="/nowhere/y.py:build"), False),
        (probe(loss_tolerance=0.5, worthwhile=0.5, knobs={"optim": ("adamw_torch",)}), True),
    ],
)
def test_what_trains_decides_and_not_what_is_asked_of_the_study(
    tmp_path: Path, spec: ProbeSpec, is_found: bool
) -> None:
    tracer(ScriptedRunner(traced=traced), TraceCache(tmp_path)).traced(OWN, candidates(8))
    other = tracer(ScriptedRunner(traced=traced), TraceCache(tmp_path), spec)
    assert (other.kept(OWN, candidates(8)) is not None) == is_found
    assert other.kept(VariantKey(True, False, "sdpa", False), candidates(8)) is None


def test_peaks_are_kept_beside_their_trace(tmp_path: Path) -> None:
    first = tracer(ScriptedRunner(traced=traced), TraceCache(tmp_path))
    variant = first.traced(OWN, candidates(8))
    variant.known_peaks["8 adamw_torch"] = 77
    first.keep_peaks(OWN, variant)
    found = tracer(ScriptedRunner(), TraceCache(tmp_path)).kept(OWN, candidates(8))
    assert found is not None
    assert found.known_peaks == {"8 adamw_torch": 77}


def unlike(request: TraceRequest) -> Trace:
    """A micro-batch of one does something else than larger ones."""
    made = traced(request)
    example = made.steps[-1]
    frees_none = example.tape.model_copy(update={"events": example.tape.events[:-1]})
    small = example.model_copy(update={"micro_batch": 1, "tape": frees_none})
    large = [example.model_copy(update={"micro_batch": size}) for size in request.micro_batches if size > 2]
    return made.model_copy(update={"steps": (small, *large)})


def test_where_two_sizes_are_unlike_larger_ones_are_traced_and_kept_too(tmp_path: Path) -> None:
    runner = ScriptedRunner(traced=unlike)
    tracer(runner, TraceCache(tmp_path)).traced(OWN, candidates(8, 32))
    assert [request.micro_batches for request in runner.traces] == [(1, 2, 4), (1, 2, 4, 8, 16)]
    found = tracer(ScriptedRunner(), TraceCache(tmp_path)).kept(OWN, candidates(8, 32))
    assert found is not None
    assert found.tapes.cover([32])


def test_where_larger_ones_cannot_be_traced_the_small_ones_are_known() -> None:
    def only_small(request: TraceRequest) -> Trace:
        if 16 in request.micro_batches:
            raise WorkloadError("too long")
        return unlike(request)

    variant = tracer(ScriptedRunner(traced=only_small)).traced(OWN, candidates(1, 32))
    assert variant.tapes.cover([1])
    assert not variant.tapes.cover([32])


def test_what_cannot_be_traced_says_why() -> None:
    with pytest.raises(WorkloadError, match="cannot be traced"):
        tracer(ScriptedRunner()).traced(OWN, candidates(8))
