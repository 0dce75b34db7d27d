"""What a study traces before its first trial, what it makes of it, and that nothing is lost where that fails."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from perftune.errors import WorkloadError
from perftune.planning.trace_cache import TraceCache
from perftune.planning.variants import variant_key
from perftune.records.device import Device
from perftune.records.prediction_error import absolute_errors, predicted_and_measured
from perftune.records.prior import Prior
from perftune.records.probe import ProbeSpec, Target
from perftune.records.trace import Trace, TracedOptimizer, TraceRequest
from perftune.records.trial import Purpose
from perftune.search import build_space
from perftune.tuning import probe_study
from perftune.tuning.prior import PriorTracer
from perftune.tuning.study_file import load_study
from perftune.units import GIB, MIB
from tests.plan.test_estimate import with_work
from tests.tuning.scripted import ScriptedRunner, probe, survey

OPTIMIZERS = ("adamw_torch", "adamw_torch_fused")
SECONDS = 10.0
"""What each trace takes on the clock of these tests."""
RATES = {"fp32": 1e11, "bf16": 2e11}
TIGHT = probe(target=Target(device="cpu", memory_bytes=128 * MIB))
"""Where checkpointing is worth a trace too: what the CPU needs beside tensors is nearly all of it."""


def traced(request: TraceRequest) -> Trace:
    """The step made by hand, whatever is asked; both optimizers do the same."""
    made = with_work("bf16" if request.arguments["bf16"] else "fp32", 1e9).trace
    (optimizer,) = made.optimizers
    known = tuple(
        optimizer.model_copy(update={"optim": name})
        if name in OPTIMIZERS
        else TracedOptimizer(optim=name, tape=None, reason="it reads values")
        for name in request.optimizers
    )
    return made.model_copy(update={"optimizers": known})


class Clock:
    """Goes on with each trace, up to its deadline."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        return self.now

    def timed(self, answer: Callable[[TraceRequest], Trace] = traced) -> Callable[[TraceRequest], Trace]:
        """The answer after its time; none where that is longer than the deadline."""

        def trace(request: TraceRequest) -> Trace:
            self.now += min(self.seconds, request.deadline_seconds)
            if request.deadline_seconds < self.seconds:
                raise WorkloadError("timed out")
            return answer(request)

        return trace


def tracer_of(
    runner: ScriptedRunner,
    clock: Clock | None = None,
    cache: TraceCache | None = None,
    spec: ProbeSpec = TIGHT,
    **changes: object,
) -> PriorTracer:
    told = survey(**{"flops_per_second": RATES, **changes})
    return PriorTracer(spec, told, build_space(spec, told), runner, cache, clock or Clock())


def whole(runner: ScriptedRunner, **changes: object) -> Prior:
    prior = tracer_of(runner, **changes).run(math.inf)
    assert prior is not None
    return prior


def kinds(runner: ScriptedRunner) -> list[tuple[bool, bool]]:
    return [(r.arguments["bf16"], r.arguments["activation_checkpointing"]) for r in runner.traces]


def own_variants(prior: Prior) -> set[tuple[object, object]]:
    """Those that were traced."""
    named = ("precision", "activation_checkpointing")
    return {tuple(one.settings[name] for name in named) for one in prior.predicted if one.is_traced}  # type: ignore[misc]


def test_each_variant_is_traced_once_under_the_rules_of_the_device_and_optimizers_only_with_the_first() -> None:
    runner = ScriptedRunner(traced=traced)
    prior = whole(runner)
    assert sorted(kinds(runner)) == [(False, False), (False, True), (True, False), (True, True)]
    assert kinds(runner)[0] == (False, False), "the user's own comes first"
    assert {request.semantics for request in runner.traces} == {"cpu"}
    assert {request.micro_batches for request in runner.traces} == {(2, 4)}
    assert set(runner.traces[0].optimizers) == {*OPTIMIZERS, "adamw_bnb_8bit"}
    assert all(not request.optimizers for request in runner.traces[1:])
    assert prior.has_rates
    assert all(one.is_traced for one in prior.predicted)
    space = build_space(TIGHT, survey())
    for candidate in space.candidates():
        predicted = prior.of(candidate.settings)
        assert (predicted is None) == (candidate.settings["optim"] == "adamw_bnb_8bit"), "that was not traced"
        assert predicted is None or predicted.peak_memory_bytes > 0


def test_without_rates_no_step_has_seconds() -> None:
    prior = whole(ScriptedRunner(traced=traced), flops_per_second={})
    assert not prior.has_rates
    assert all(prior.step_seconds(one) is None for one in prior.predicted)


def test_each_step_traces_one_variant_and_knows_more() -> None:
    clock = Clock()
    runner = ScriptedRunner(traced=clock.timed())
    tracer = tracer_of(runner, clock)
    known: list[set[tuple[object, object]]] = [set()]
    while (prior := tracer.step(60.0)) is not None:
        known.append(own_variants(prior))
        assert len(runner.traces) == len(known) - 1
        assert known[-2] < known[-1]
        assert prior.seconds == tracer.seconds == SECONDS * len(runner.traces)
        assert len(prior.predicted) == len({tuple(one.settings.values()) for one in prior.predicted}) == 6 * 2 * 2 * 3
    assert len(runner.traces) == 4
    assert tracer.is_done
    assert tracer.step(60.0) is None


def test_nothing_is_begun_that_is_not_expected_to_end_in_time() -> None:
    clock = Clock()
    runner = ScriptedRunner(traced=clock.timed())
    tracer = tracer_of(runner, clock)
    assert tracer.step(0.0) is None
    assert tracer.run(2.5 * SECONDS) is not None
    assert len(runner.traces) == 2
    assert clock.now == 2 * SECONDS
    assert tracer.step(0.9 * SECONDS) is None
    assert clock.now == 2 * SECONDS
    assert not tracer.is_done
    prior = tracer.step(SECONDS)
    assert prior is not None
    assert any("1 of 4 variants were not traced: no time was left" in note for note in prior.notes)


def test_what_does_not_end_in_time_is_begun_again_only_with_much_more_of_it() -> None:
    clock = Clock(seconds=30.0)
    runner = ScriptedRunner(traced=clock.timed())
    tracer = tracer_of(runner, clock)
    assert tracer.step(20.0) is None
    assert clock.now == 20.0, "and nothing else was begun"
    assert tracer.failure is None, "there may be time later"
    assert tracer.step(39.0) is None
    assert clock.now == 20.0
    assert tracer.step(40.0) is not None
    assert tracer.seconds == 50.0


def test_another_study_of_the_workload_finds_its_traces(tmp_path: Path) -> None:
    first = tracer_of(ScriptedRunner(traced=traced), cache=TraceCache(tmp_path)).run(math.inf)
    clock = Clock()
    runner = ScriptedRunner(traced=clock.timed())
    tracer = tracer_of(runner, clock, cache=TraceCache(tmp_path))
    found = tracer.step(0.0)
    assert first is not None
    assert found is not None
    assert found.predicted == first.predicted
    assert tracer.is_done
    assert runner.traces == []
    assert clock.now == 0.0


def test_what_the_cache_does_not_have_is_traced(tmp_path: Path) -> None:
    clock = Clock()
    tracer_of(ScriptedRunner(traced=clock.timed()), clock, cache=TraceCache(tmp_path)).run(2 * SECONDS)
    runner = ScriptedRunner(traced=traced)
    tracer = tracer_of(runner, cache=TraceCache(tmp_path))
    assert tracer.step(60.0) is not None
    assert runner.traces == [], "first what is there"
    assert tracer.run(60.0) is not None
    assert len(runner.traces) == 2


def test_what_cannot_matter_is_left_out_and_said_and_follows_from_what_was_traced() -> None:
    runner = ScriptedRunner(traced=traced)
    prior = whole(
        runner, spec=probe(knobs={"precision": ("fp32", "bf16")}), flops_per_second={"fp32": 1e11, "bf16": 5e9}
    )
    assert kinds(runner) == [(False, False)]
    assert any("20 times slower" in note for note in prior.notes)
    assert any("checkpointing was not traced" in note for note in prior.notes)
    space = build_space(probe(), survey())
    base = prior.of(space.base.settings)
    half, saving = (
        prior.of(space.base.replace(**changed).settings)
        for changed in ({"precision": "bf16"}, {"activation_checkpointing": True})
    )
    assert base is not None
    assert half is not None
    assert saving is not None
    assert (base.is_traced, half.is_traced, saving.is_traced) == (True, False, False)
    assert half.kernel_seconds is not None
    assert base.kernel_seconds is not None
    assert half.kernel_seconds > 5 * base.kernel_seconds
    assert saving.peak_memory_bytes < base.peak_memory_bytes


def test_what_cannot_be_traced_has_a_reason() -> None:
    runner = ScriptedRunner()
    tracer = tracer_of(runner)
    assert tracer.run(math.inf) is None
    assert tracer.is_done, "the other variants are of the same step"
    assert "cannot be traced" in str(tracer.failure)


def test_one_variant_that_fails_does_not_cost_the_others() -> None:
    def fails(request: TraceRequest) -> Trace:
        if request.arguments["activation_checkpointing"]:
            raise WorkloadError("line 7 reads a value")
        return traced(request)

    prior = whole(ScriptedRunner(traced=fails))
    assert {checkpointing for _, checkpointing in own_variants(prior)} == {False}
    assert "line 7 reads a value" in prior.notes


def test_a_gpu_that_is_here_is_predicted_by_its_row_of_the_catalogue() -> None:
    runner = ScriptedRunner(traced=traced)
    device = Device(kind="cuda", name="Tesla T4", memory_bytes=int(14.6 * GIB), compute_capability=(7, 5))
    prior = whole(runner, spec=probe(), device=device)
    assert prior.runs_ahead
    assert prior.has_rates
    assert {request.semantics for request in runner.traces} == {"cuda"}
    assert all(one.kernel_seconds is not None for one in prior.predicted)
    other = whole(runner, spec=probe(), device=device.model_copy(update={"name": "GTX 1650"}))
    assert all(one.kernel_seconds is None for one in other.predicted)


def test_fp16_on_a_cpu_is_traced_as_what_runs_there() -> None:
    space = build_space(probe(), survey())
    half, full = (space.base.replace(precision=name) for name in ("fp16", "fp32"))
    device = survey().device
    assert variant_key(half, device) == variant_key(full, device)
    assert variant_key(space.base.replace(precision="bf16"), device) != variant_key(full, device)


def test_a_study_keeps_its_predictions_beside_what_was_measured(tmp_path: Path) -> None:
    study = probe_study(probe(), tmp_path, runner=ScriptedRunner(traced=traced))
    stored = load_study(tmp_path / "study.json")
    assert stored == study
    assert study.space.prior is not None
    compared = predicted_and_measured(study)
    assert {one.candidate.key for one in compared} == {
        trial.candidate.key
        for trial in study.completed(Purpose.SEARCH, Purpose.RACE, Purpose.ABLATION)
        if (predicted := study.space.prior.of(trial.candidate.settings)) and predicted.is_traced
    }
    table = study.to_pandas()
    for one in compared:
        assert one.memory_error == pytest.approx(one.predicted_bytes / one.measured_bytes - 1)
        assert one.predicted_bytes in set(table["predicted_peak_memory_bytes"])
    report = (tmp_path / "report.md").read_text()
    assert "Predicted and measured" in report
    assert "off in the median of" in report


def test_a_study_goes_on_without_predictions_and_says_why(tmp_path: Path) -> None:
    study = probe_study(probe(), tmp_path, runner=ScriptedRunner())
    assert study.space.prior is None
    assert any("nothing was predicted" in note for note in study.survey.notes)
    assert predicted_and_measured(study) == []
    assert study.recommendation is not None


def test_predictions_can_be_left_out(tmp_path: Path) -> None:
    runner = ScriptedRunner(traced=traced)
    study = probe_study(probe(), tmp_path, runner=runner, prior=False)
    assert runner.traces == []
    assert study.space.prior is None
    assert not any("predicted" in note for note in study.survey.notes)


def test_a_study_that_goes_on_keeps_its_predictions_and_traces_nothing_again(tmp_path: Path) -> None:
    runner = ScriptedRunner(traced=traced, interrupt_at=3)
    with pytest.raises(KeyboardInterrupt):
        probe_study(probe(), tmp_path, runner=runner)
    before = load_study(tmp_path / "study.json").space.prior
    assert before is not None
    again = ScriptedRunner(traced=traced)
    study = probe_study(probe(), tmp_path, runner=again)
    assert again.traces == []
    assert study.space.prior == before


def test_errors_are_told_by_size() -> None:
    assert absolute_errors([-0.3, 0.1, 0.2]) == (0.2, 0.3)


@pytest.mark.parametrize(("trained", "is_said"), [(None, False), (1_000_000, False), (400_000, True)])
def test_parameters_that_were_frozen_while_it_was_measured_are_said(
    tmp_path: Path, trained: int | None, is_said: bool
) -> None:
    runner = ScriptedRunner(traced=traced, num_trainable_parameters=trained)
    study = probe_study(probe(), tmp_path, runner=runner)
    assert study.recommendation is not None
    notes = [note for note in study.recommendation.notes if "has frozen the others" in note]
    assert bool(notes) == is_said
    for note in notes:
        assert "400,000 of 1,000,000" in note
        assert "by the prediction it then needs" in note
