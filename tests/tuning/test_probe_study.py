"""Whole studies on scripted trials: the answer is safe, explained and never changes the global batch."""

from pathlib import Path

import pytest
import yaml
from threadpoolctl import threadpool_info

from perftune.devices import host
from perftune.errors import NoCandidateError, StudyMismatchError, WorkloadError
from perftune.records.device import Telemetry
from perftune.records.probe import Budget, Objective, Target
from perftune.records.recommendation import Decision
from perftune.records.study import Study
from perftune.records.trial import Failure, Measurement, Outcome, Purpose, TrialRequest
from perftune.tuning import SilentObserver, probe_study
from perftune.tuning.study_file import load_study
from perftune.units import GIB, MIB, format_bytes
from tests.tuning.scripted import GLOBAL_BATCH, Physics, ScriptedRunner, answer, crash, probe, run

pytestmark = pytest.mark.long

hot_and_shared = Telemetry(
    sm_clock_mhz=1200,
    max_sm_clock_mhz=1980,
    temperature_celsius=80,
    power_watts=700.0,
    throttle_reasons=("power cap",),
    num_other_processes=1,
    other_processes_bytes=3 * GIB,
)


def test_the_fastest_candidate_is_found_and_proved(tmp_path: Path) -> None:
    runner = ScriptedRunner()
    found = answer(run(tmp_path, runner))
    assert found.decision is Decision.TUNED
    assert found.candidate.settings["precision"] == "bf16"
    assert found.candidate.micro_batch == GLOBAL_BATCH
    assert found.comparison is not None
    truth = [sum(runner.physics.parts(c)) for c in (runner.requests[0].candidate, found.candidate)]
    assert found.comparison.ratio.value == pytest.approx(truth[0] / truth[1], rel=0.03)
    assert found.comparison.ratio.low > 1
    assert found.loss_check is not None
    assert found.loss_check.passed


def test_the_global_batch_is_the_same_in_every_trial(tmp_path: Path) -> None:
    runner = ScriptedRunner()
    run(tmp_path, runner)
    for request in runner.requests:
        assert (
            request.arguments["per_device_train_batch_size"] * request.arguments["gradient_accumulation_steps"]
            == GLOBAL_BATCH
        )
        assert request.arguments["learning_rate"] == 1e-3


def test_every_tuned_line_has_its_own_measured_effect(tmp_path: Path) -> None:
    runner = ScriptedRunner()
    found = answer(run(tmp_path, runner))
    effects = {line.field: line.speedup for line in found.lines}
    compute, optimizer = runner.physics.parts(found.candidate)
    without, _ = runner.physics.parts(found.candidate.replace(precision="fp32"))
    assert effects["bf16"] is not None
    assert effects["bf16"].value == pytest.approx((without + optimizer) / (compute + optimizer), rel=0.05)
    assert effects["per_device_train_batch_size"] is not None
    assert {line.field for line in found.lines} >= {
        "bf16",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
    }


class FlatteringSearch(ScriptedRunner):
    """While searching, one optimizer looks faster than it is in any later trial."""

    def _measurement(self, request: TrialRequest) -> Measurement:
        measurement = super()._measurement(request)
        if request.purpose is not Purpose.SEARCH or request.candidate.settings["optim"] != "adamw_torch":
            return measurement
        faster = tuple(0.8 * seconds for seconds in measurement.steps.step_seconds)
        steps = measurement.steps.model_copy(update={"step_seconds": faster})
        return measurement.model_copy(update={"steps": steps})


def test_a_line_that_does_nothing_is_taken_back(tmp_path: Path) -> None:
    runner = FlatteringSearch()
    study = run(tmp_path, runner)
    found = answer(study)
    raced = [request.candidate for request in runner.requests if request.purpose is Purpose.RACE]
    assert any(c.settings["optim"] == "adamw_torch" and c.settings["precision"] == "bf16" for c in raced)
    assert found.decision is Decision.TUNED
    assert {line.field for line in found.lines} >= {"bf16", "per_device_train_batch_size"}
    assert "optim" not in {line.field for line in found.lines}
    assert all(line.speedup for line in found.lines if line.field != "gradient_accumulation_steps")
    final = next(trial for trial in study.trials if trial.number == found.final_trial)
    assert final.candidate == found.candidate
    assert found.loss_check is not None
    loss = next(trial for trial in study.trials if trial.number == found.loss_check.trials[0])
    assert loss.candidate == found.candidate


def test_a_line_that_does_something_stays_though_it_changes_little(tmp_path: Path) -> None:
    runner = ScriptedRunner(physics=Physics(bf16_factor=0.9))
    found = answer(run(tmp_path, runner))
    assert found.candidate.settings["precision"] == "bf16"


def test_the_race_has_no_more_contenders_than_the_minutes_let_tell_apart(tmp_path: Path) -> None:
    def most_beside(directory: Path, minutes: float) -> int:
        runner = ScriptedRunner()
        run(directory, runner, budget=Budget(trials=200, minutes=minutes))
        heats = [r.heat for r in runner.requests if r.purpose is Purpose.RACE]
        return max(heats.count(heat) for heat in heats)

    assert most_beside(tmp_path / "short", 0.6) < most_beside(tmp_path / "long", 60.0)


@pytest.mark.parametrize("minutes", [1.0, 2.0, 4.0])
def test_a_large_gain_is_told_however_small_the_budget(tmp_path: Path, minutes: float) -> None:
    study = run(tmp_path, ScriptedRunner(), budget=Budget(trials=200, minutes=minutes))
    assert answer(study).decision is Decision.TUNED
    assert answer(study).comparison is not None
    assert study.spent_seconds <= 1.1 * minutes * 60


def test_too_little_time_is_not_decided_and_says_what_it_takes(tmp_path: Path) -> None:
    study = run(tmp_path, ScriptedRunner(), budget=Budget(trials=200, minutes=0.2))
    found = answer(study)
    assert found.decision is Decision.NOT_DECIDED
    assert found.candidate == study.space.base
    assert found.needs is not None
    assert "minute" in found.needs


def test_few_trials_are_told_apart_all_the_same(tmp_path: Path) -> None:
    study = run(tmp_path, ScriptedRunner(), budget=Budget(trials=12, minutes=30))
    assert len(study.trials) <= 12
    assert answer(study).decision is Decision.TUNED


def test_what_takes_more_trials_is_said_as_trials(tmp_path: Path) -> None:
    physics = Physics(overhead_seconds=0.0, bf16_factor=0.97, process_noise=0.05)
    found = answer(run(tmp_path, ScriptedRunner(physics), budget=Budget(trials=12, minutes=30)))
    assert found.decision is Decision.NOT_DECIDED
    assert found.needs == "more trials than the 12 of budget.trials"


def test_what_is_slower_than_the_users_own_is_not_the_best_so_far(tmp_path: Path) -> None:
    study = run(tmp_path, ScriptedRunner(Physics(bf16_factor=1.3)), budget=Budget(trials=200, minutes=0.6))
    found = answer(study)
    assert found.decision is Decision.NOT_DECIDED
    assert found.comparison is not None
    assert found.comparison.ratio.value < 1
    assert found.best_so_far is None
    assert (tmp_path / "training_args.yaml").read_text().startswith("# Not decided: nothing that ran is better")


def test_a_budget_that_cannot_decide_is_said_when_the_users_own_has_run(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    class Listens(SilentObserver):
        def on_phase(self, phase: str, text: str) -> None:
            told.append((phase, text))

    runner = ScriptedRunner()
    budget = Budget(trials=200, minutes=0.2)
    study = probe_study(probe(budget=budget), tmp_path, runner=runner, clock=runner.clock, observer=Listens())
    (said,) = [text for phase, text in told if phase == "budget"]
    assert [phase for phase, _ in told].index("budget") < [phase for phase, _ in told].index("verify")
    assert said.startswith("1 minute can hardly tell anything apart here; ")
    assert said in answer(study).notes
    plenty = run(tmp_path / "plenty", ScriptedRunner())
    assert not any("hardly tell" in note for note in answer(plenty).notes)


def test_a_gain_that_is_less_than_the_noise_of_processes_is_not_decided(tmp_path: Path) -> None:
    physics = Physics(overhead_seconds=0.0, bf16_factor=0.97, process_noise=0.05)
    found = answer(run(tmp_path, ScriptedRunner(physics=physics), budget=Budget(trials=200, minutes=3)))
    assert found.decision is not Decision.TUNED


def test_contenders_that_do_not_fit_beside_each_other_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "available_memory_bytes", lambda: 500 * MIB)
    runner = ScriptedRunner()
    found = answer(run(tmp_path, runner))
    assert runner.num_heats_in_turns == 0
    assert found.decision is Decision.TUNED
    assert found.comparison is not None
    assert not found.comparison.in_turns


def test_a_disturbed_gpu_is_said(tmp_path: Path) -> None:
    quiet = run(tmp_path / "quiet", ScriptedRunner())
    assert not any("GPU" in note for note in answer(quiet).notes)
    runner = ScriptedRunner(telemetry=lambda request: hot_and_shared if request.number <= 2 else None)
    notes = answer(run(tmp_path / "disturbed", runner)).notes
    assert "the GPU held its clock down after 2 of 2 trials: power cap" in notes
    assert f"others computed on the GPU during 2 of 2 trials; they held up to {format_bytes(3 * GIB)}" in notes


def test_the_written_file_holds_the_answer_and_the_users_own(tmp_path: Path) -> None:
    study = run(tmp_path, ScriptedRunner())
    written = yaml.safe_load((tmp_path / "training_args.yaml").read_text())
    assert written == answer(study).arguments
    assert written["learning_rate"] == 1e-3
    assert written["bf16"] is True
    assert written["per_device_eval_batch_size"] == answer(study).eval_batch_size
    assert load_study(tmp_path / "study.json") == study


def test_compiling_says_what_it_costs_and_when_it_pays(tmp_path: Path) -> None:
    runner = ScriptedRunner(physics=Physics(compiled_factor=0.5, compile_seconds=40.0))
    found = answer(run(tmp_path, runner, knobs={"torch_compile": (False, True)}))
    line = next(line for line in found.lines if line.field == "torch_compile")
    compute, _ = runner.physics.parts(found.candidate)
    without, _ = runner.physics.parts(found.candidate.replace(torch_compile=False))
    assert compute < without
    assert "compiling costs 40.0 s at the start, paid back after" in line.reason
    steps = int(line.reason.rpartition("after ")[2].split()[0].replace(",", ""))
    assert steps == pytest.approx(40 / (without - compute), rel=0.1)


def test_worker_settings_go_only_with_workers(tmp_path: Path) -> None:
    runner = ScriptedRunner()
    run(tmp_path, runner, knobs={"dataloader_num_workers": (0, 2), "dataloader_prefetch_factor": (2, 4)})
    for request in runner.requests:
        assert ("dataloader_prefetch_factor" in request.arguments) == (request.arguments["dataloader_num_workers"] > 0)


def test_nothing_better_means_keep_yours(tmp_path: Path) -> None:
    physics = Physics(overhead_seconds=0.0, bf16_factor=1.2)
    found = answer(run(tmp_path, ScriptedRunner(physics=physics)))
    assert found.decision is Decision.KEEP_YOURS
    assert found.lines == ()
    assert found.arguments["per_device_train_batch_size"] == 8


def test_no_more_trials_than_the_budget(tmp_path: Path) -> None:
    study = run(tmp_path, ScriptedRunner(), budget=Budget(trials=12, minutes=15))
    assert len(study.trials) <= 12 + 1


def test_arguments_that_do_not_fit_are_replaced(tmp_path: Path) -> None:
    physics = Physics(sample_bytes=200 * MIB)
    found = answer(run(tmp_path, ScriptedRunner(physics=physics), target=Target(device="cpu", memory_bytes=1200 * MIB)))
    assert found.decision is Decision.TUNED
    assert found.comparison is None
    assert physics.peak_bytes(found.candidate) <= 1200 * MIB * 0.9
    assert any("do not run within the limit" in note for note in found.notes)


def test_nothing_fits(tmp_path: Path) -> None:
    with pytest.raises(NoCandidateError, match=r"can't allocate memory.*Raise target.memory"):
        run(tmp_path, ScriptedRunner(), target=Target(device="cpu", memory_bytes=100 * MIB))
    assert load_study(tmp_path / "study.json").trials


def test_failed_trials_are_recorded_and_the_study_goes_on(tmp_path: Path) -> None:
    def fault(request: TrialRequest) -> Failure | None:
        return crash(request) if request.candidate.settings["precision"] == "bf16" else None

    study = run(tmp_path, ScriptedRunner(fault=fault))
    assert any(trial.outcome is Outcome.CRASHED for trial in study.trials)
    assert answer(study).candidate.settings["precision"] != "bf16"


def test_least_memory(tmp_path: Path) -> None:
    found = answer(run(tmp_path, ScriptedRunner(), objective=Objective.PEAK_MEMORY))
    assert found.candidate.micro_batch == 1
    assert found.candidate.settings["activation_checkpointing"] is True


def test_interrupted_then_finished_without_running_anything_twice(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ScriptedRunner(interrupt_at=6))
    assert load_study(tmp_path / "study.json").interrupted
    best = (tmp_path / "training_args.best_so_far.yaml").read_text()
    assert best.startswith("# Best so far. It ran, but passed no final check")
    assert not (tmp_path / "training_args.yaml").exists()
    second = ScriptedRunner()
    study = run(tmp_path, second)
    assert second.requests[0].number == 6  # those of the heat that was interrupted are run anew
    assert [trial.number for trial in study.trials] == list(range(1, len(study.trials) + 1))
    whole = run(tmp_path / "whole", ScriptedRunner())
    assert answer(study).candidate == answer(whole).candidate


class BetterWithoutALine(ScriptedRunner):
    """What was never searched nor raced is the fastest when lines are taken back, so that it leads the study then."""

    def _measurement(self, request: TrialRequest) -> Measurement:
        measurement = super()._measurement(request)
        if request.purpose is not Purpose.ABLATION:
            return measurement
        steps = measurement.steps
        faster = tuple(seconds / 50 for seconds in steps.step_seconds)
        return measurement.model_copy(update={"steps": steps.model_copy(update={"step_seconds": faster})})


def test_ctrl_c_at_any_trial_leaves_the_best_so_far(tmp_path: Path) -> None:
    whole = BetterWithoutALine()
    run(tmp_path / "whole", whole)
    purposes = [request.purpose for request in whole.requests]
    first_line, last = purposes.index(Purpose.ABLATION), len(purposes) - 1
    for number in {1, 3, first_line, first_line + 2, first_line + 4, last}:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / str(number), BetterWithoutALine(interrupt_at=number))
        assert (tmp_path / str(number) / "training_args.best_so_far.yaml").exists()


def test_a_finished_study_is_not_run_again(tmp_path: Path) -> None:
    run(tmp_path, ScriptedRunner())
    again = ScriptedRunner()
    run(tmp_path, again)
    assert again.requests == []


def test_another_probe_is_refused_and_force_keeps_the_old(tmp_path: Path) -> None:
    run(tmp_path / "a", ScriptedRunner())
    with pytest.raises(StudyMismatchError, match="global_batch_size"):
        run(tmp_path / "a", ScriptedRunner(), global_batch_size=64)
    probe_study(probe(seed=3), tmp_path / "a", runner=ScriptedRunner(), force=True)
    assert (tmp_path / "a.old-1" / "study.json").exists()


def test_a_file_that_reads_back_differently_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="gradient_accumulation_steps: 7"):
        run(tmp_path, ScriptedRunner(read_back={"gradient_accumulation_steps": 7}))
    assert not (tmp_path / "training_args.yaml").exists()


def test_the_observer_is_told_of_everything_in_order(tmp_path: Path) -> None:
    told: list[str] = []

    class Listens(SilentObserver):
        def on_phase(self, phase: str, text: str) -> None:
            told.append(phase)

        def on_done(self, study: Study) -> None:
            told.append("done")

    probe_study(probe(), tmp_path, runner=ScriptedRunner(), observer=Listens())
    assert [phase for phase in told if phase != "simplify"] == [
        "survey", "search", "race", "explain", "verify", "evaluation", "done"
    ]  # fmt: skip


def test_while_a_study_runs_the_models_compute_on_one_thread(tmp_path: Path) -> None:
    seen: list[int] = []

    def look(_: TrialRequest) -> None:
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

    run(tmp_path, ScriptedRunner(fault=look))
    assert set(seen) == {1}
