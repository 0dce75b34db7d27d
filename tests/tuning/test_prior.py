"""What a study traces before its first trial, what it makes of it, and that nothing is lost where that fails."""

from pathlib import Path

import pytest

from perftune.errors import WorkloadError
from perftune.planning.traces import variant_key
from perftune.records.device import Device
from perftune.records.prediction_error import absolute_errors, predicted_and_measured
from perftune.records.prior import Prior
from perftune.records.trace import Trace, TraceRequest
from perftune.records.trial import Purpose
from perftune.search import build_space
from perftune.tuning import probe_study
from perftune.tuning.prior import MIN_SECONDS, trace_prior
from perftune.tuning.study_file import load_study
from perftune.units import GIB
from tests.plan.test_estimate import with_work
from tests.tuning.scripted import ScriptedRunner, probe, survey

OPTIMIZERS = ("adamw_torch", "adamw_torch_fused")


def traced(request: TraceRequest) -> Trace:
    """The step made by hand, whatever is asked; both optimizers do the same."""
    made = with_work("bf16" if request.arguments["bf16"] else "fp32", 1e9).trace
    (optimizer,) = made.optimizers
    known = tuple(optimizer.model_copy(update={"optim": name}) for name in OPTIMIZERS)
    return made.model_copy(update={"optimizers": known})


def prior_of(runner: ScriptedRunner, clock: list[float] | None = None, **changes: object) -> Prior | str:
    told = survey(**changes)
    times = iter(clock or [])
    return trace_prior(
        probe(), told, build_space(probe(), told), runner, clock=lambda: next(times, (clock or [0.0])[-1])
    )


def test_each_variant_is_traced_once_under_the_rules_of_the_device_and_optimizers_only_with_the_first() -> None:
    runner = ScriptedRunner(traced=traced)
    prior = prior_of(runner, flops_per_second={"fp32": 1e11, "bf16": 2e11})
    assert isinstance(prior, Prior)
    kinds = [(r.arguments["bf16"], r.arguments["activation_checkpointing"]) for r in runner.traces]
    assert sorted(kinds) == [(False, False), (False, True), (True, False), (True, True)]
    assert kinds[0] == (False, False), "the user's own comes first"
    assert {request.semantics for request in runner.traces} == {"cpu"}
    assert set(runner.traces[0].optimizers) == {*OPTIMIZERS, "adamw_bnb_8bit"}
    assert all(not request.optimizers for request in runner.traces[1:])
    assert prior.has_rates
    space = build_space(probe(), survey())
    for candidate in space.candidates():
        predicted = prior.of(candidate.settings)
        assert (predicted is None) == (candidate.settings["optim"] == "adamw_bnb_8bit"), "that was not traced"
        assert predicted is None or predicted.peak_memory_bytes > 0


def test_without_rates_no_step_has_seconds() -> None:
    prior = prior_of(ScriptedRunner(traced=traced))
    assert isinstance(prior, Prior)
    assert not prior.has_rates
    assert all(prior.step_seconds(one) is None for one in prior.predicted)


def test_where_time_is_short_the_rest_is_left_out_and_said() -> None:
    prior = prior_of(ScriptedRunner(traced=traced), clock=[0.0, 1.0, 2 * MIN_SECONDS + 100])
    assert isinstance(prior, Prior)
    assert any("no time was left" in note for note in prior.notes)
    whole = prior_of(ScriptedRunner(traced=traced))
    assert isinstance(whole, Prior)
    assert 0 < len(prior.predicted) < len(whole.predicted)


def test_what_cannot_be_traced_has_a_reason() -> None:
    reason = prior_of(ScriptedRunner())
    assert isinstance(reason, str)
    assert "cannot be traced" in reason


def test_one_variant_that_fails_does_not_cost_the_others() -> None:
    def fails(request: TraceRequest) -> Trace:
        if request.arguments["activation_checkpointing"]:
            raise WorkloadError("line 7 reads a value")
        return traced(request)

    prior = prior_of(ScriptedRunner(traced=fails))
    assert isinstance(prior, Prior)
    assert {one.settings["activation_checkpointing"] for one in prior.predicted} == {False}
    assert "line 7 reads a value" in prior.notes


def test_a_gpu_that_is_here_is_predicted_by_its_row_of_the_catalogue() -> None:
    runner = ScriptedRunner(traced=traced)
    device = Device(kind="cuda", name="Tesla T4", memory_bytes=int(14.6 * GIB), compute_capability=(7, 5))
    prior = prior_of(runner, device=device)
    assert isinstance(prior, Prior)
    assert prior.runs_ahead
    assert prior.has_rates
    assert {request.semantics for request in runner.traces} == {"cuda"}
    assert all(one.kernel_seconds is not None for one in prior.predicted)
    other = prior_of(runner, device=device.model_copy(update={"name": "GTX 1650"}))
    assert isinstance(other, Prior)
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
        if study.space.prior.of(trial.candidate.settings)
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
    assert any("nothing was predicted before the first trial" in note for note in study.survey.notes)
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


def test_where_two_sizes_are_unlike_larger_ones_are_traced() -> None:
    """As where a micro-batch of two has equally long samples, and so no mask, and one of four has a mask."""

    def unlike(request: TraceRequest) -> Trace:
        made = traced(request)
        example = made.steps[-1]
        frees_none = example.tape.model_copy(update={"events": example.tape.events[:-1]})
        small = example.model_copy(update={"micro_batch": 1, "tape": frees_none})
        large = [example.model_copy(update={"micro_batch": size}) for size in request.micro_batches if size > 2]
        return made.model_copy(update={"steps": (small, *large)})

    runner = ScriptedRunner(traced=unlike)
    prior = prior_of(runner)
    assert isinstance(prior, Prior)
    sizes = [request.micro_batches for request in runner.traces]
    assert sizes == [(1, 2, 4), (1, 2, 4, 8, 16)] * 4
    assert {one.settings["per_device_train_batch_size"] for one in prior.predicted} == {1, 2, 4, 8, 16, 32}
