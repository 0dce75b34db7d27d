"""Trainers of every kind, watched in real processes: their figures, their outcomes, and that nothing is left behind."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perftune.errors import WorkloadError
from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import Candidate
from perftune.records.survey import Survey, SurveyRequest
from perftune.records.trial import Measurement, Outcome, Purpose, StopRule, Trial, TrialRequest, WorkloadSource
from perftune.units import GIB

pytestmark = pytest.mark.long

WORKLOADS = Path(__file__).parents[1] / "workloads" / "tiny.py"
GLOBAL_BATCH = 8
ON_ONE_SCALE = ["plain", "corrected_classifier", "images", "lora", "seq2seq", "own_step"]
KINDS = ["plain", "seq2seq", "own_loss", "own_step", "lora", "sft", "images", "without_length", "early_stopping"]
ARGUMENTS: dict[str, Any] = {"learning_rate": 1e-3, "save_strategy": "steps", "save_steps": 1, "logging_steps": 1}
NEEDS: dict[str, dict[str, Any]] = {
    "without_length": {"max_steps": 20},
    "classifier_stream": {"max_steps": 20},
    "evaluating": {"eval_strategy": "steps", "eval_steps": 1},
    "early_stopping": {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "load_best_model_at_end": True,
        "metric_for_best_model": "loss",
    },
}


class Runs:
    """Runs trials of the tiny workloads, each in a process of its own."""

    def __init__(self, runner: ForkServerRunner, folder: Path) -> None:
        self.runner, self.folder, self.number = runner, folder, 0

    def source(self, name: str) -> WorkloadSource:
        return WorkloadSource(build=f"{WORKLOADS}:{name}", working_directory=str(self.folder))

    def trial(self, name: str, micro_batch: int = 4, exact_steps: int | None = 3, **changes: Any) -> Trial:
        self.number += 1
        candidate = Candidate(settings={"per_device_train_batch_size": micro_batch})
        arguments = {**ARGUMENTS, **NEEDS.get(name, {}), **changes.pop("arguments", {})}
        return self.runner.run(
            TrialRequest(
                number=self.number,
                purpose=Purpose.SEARCH,
                candidate=candidate,
                workload=self.source(name),
                arguments={**arguments, **candidate.training_arguments(GLOBAL_BATCH)},
                exact_steps=exact_steps,
                **changes,
            )
        )

    def measured(self, name: str, **changes: Any) -> Measurement:
        trial = self.trial(name, **changes)
        assert trial.failure is None, trial.failure.traceback
        assert trial.measurement is not None
        return trial.measurement

    def survey(self, name: str, *, weightless: bool = False) -> Survey:
        arguments = {**ARGUMENTS, **NEEDS.get(name, {})}
        return self.runner.survey(
            SurveyRequest(
                workload=self.source(name),
                arguments=arguments,
                global_batch_size=GLOBAL_BATCH,
                device="cpu",
                weightless=weightless,
            )
        )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with ForkServerRunner(tmp_path_factory.mktemp("run")) as runner:
        yield Runs(runner, tmp_path_factory.mktemp("user"))


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_trainer_is_measured_in_optimizer_steps(runs: Runs, name: str) -> None:
    measurement = runs.measured(name, worst_batch=(12, 25, 38, 51))
    steps = measurement.steps
    assert len(steps) == 3
    assert steps.num_samples == (GLOBAL_BATCH,) * 3
    assert measurement.worst_batch_ran
    assert measurement.memory.worst_batch_bytes is not None
    assert measurement.memory.peak_bytes > 0
    for i in range(3):
        parts = (steps.data_seconds, steps.forward_seconds, steps.backward_seconds, steps.optimizer_seconds)
        assert all(part[i] > 0 for part in parts)
        assert sum(part[i] for part in parts) <= steps.step_seconds[i] * 1.01
        assert steps.loss[i] > 0
        assert steps.grad_norm[i] is not None


def test_tokens_are_counted_without_padding(runs: Runs) -> None:
    steps = runs.measured("without_length").steps
    lengths = [4 + index % 13 for index in range(3 * GLOBAL_BATCH)]
    by_step = [lengths[i : i + GLOBAL_BATCH] for i in range(0, len(lengths), GLOBAL_BATCH)]
    assert steps.num_tokens == tuple(sum(step) for step in by_step)
    halves = [(step[:4], step[4:]) for step in by_step]
    assert steps.num_padded_tokens == tuple(4 * max(a) + 4 * max(b) for a, b in halves)


def test_grouping_by_length_is_trained_with_and_pads_less(runs: Runs) -> None:
    def padding(strategy: str) -> float:
        steps = runs.measured("listed", exact_steps=6, arguments={"train_sampling_strategy": strategy}).steps
        assert steps.num_samples == (GLOBAL_BATCH,) * 6
        return sum(steps.num_padded_tokens) / sum(steps.num_tokens)

    assert 1 <= padding("group_by_length") < padding("random")


def test_grouping_by_length_needs_data_that_end(runs: Runs) -> None:
    assert "group_by_length" in runs.survey("listed").supported["train_sampling_strategy"]
    assert "never ends" in runs.survey("plain").unsupported["train_sampling_strategy"]["*"]


def test_losses_and_gradients_are_those_of_the_bare_trainer(runs: Runs, tmp_path: Path) -> None:
    import importlib.util

    from transformers import TrainingArguments

    spec = importlib.util.spec_from_file_location("tiny", WORKLOADS)
    assert spec is not None
    assert spec.loader is not None
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    args = TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=4, gradient_accumulation_steps=2, max_steps=3,
        logging_steps=1, learning_rate=1e-3, use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no",
    )  # fmt: skip
    bare = tiny.plain(args)
    bare.train()
    logged = [entry for entry in bare.state.log_history if "loss" in entry]
    steps = runs.measured("plain", arguments={"max_steps": 3}).steps
    assert steps.loss == pytest.approx([float(entry["loss"]) for entry in logged], rel=1e-3)
    assert [norm for norm in steps.grad_norm if norm] == pytest.approx(
        [float(entry["grad_norm"]) for entry in logged], rel=1e-3
    )


def test_every_factorisation_of_the_global_batch_learns_the_same(runs: Runs) -> None:
    losses = {micro: runs.measured("plain", micro_batch=micro).steps.loss for micro in (1, 2, 8)}
    assert losses[1] == pytest.approx(losses[8], rel=1e-4)
    assert losses[2] == pytest.approx(losses[8], rel=1e-4)


def test_evaluation_and_one_checkpoint_are_in_the_memory_and_gone_from_the_disk(runs: Runs) -> None:
    measurement = runs.measured("plain", evaluate=True, save_checkpoint=True)
    assert measurement.evaluation is not None
    assert measurement.evaluation.num_samples == 24
    assert measurement.memory.save_bytes is not None
    assert measurement.memory.evaluate_bytes is not None
    assert not (runs.runner.trial_directory(runs.number) / "output").exists()


def test_evaluation_batches_take_turns_on_the_same_samples(runs: Runs) -> None:
    sizes = (2, 4, 8)
    found = runs.measured("plain", evaluate=True, eval_batch_sizes=sizes, exact_steps=1).evaluations
    assert [(one.round, one.per_device_eval_batch_size) for one in found] == [
        (0, 2), (0, 4), (0, 8), (1, 4), (1, 8), (1, 2), (2, 8), (2, 2), (2, 4)
    ]  # fmt: skip
    assert len({one.num_samples for one in found}) == 1
    assert all(one.peak_bytes for one in found)


def test_no_more_time_than_is_given_goes_into_evaluation(runs: Runs) -> None:
    measurement = runs.measured(
        "plain", evaluate=True, eval_batch_sizes=(1, 2, 16), exact_steps=1, evaluation_seconds=1e-4
    )
    assert {one.per_device_eval_batch_size for one in measurement.evaluations} == {1}


def test_nothing_is_left_behind_and_nothing_is_reported(runs: Runs, tmp_path: Path) -> None:
    before = WORKLOADS.read_bytes()
    runs.measured(
        "early_stopping",
        arguments={"report_to": "all", "push_to_hub": True, "output_dir": str(tmp_path / "out"), "run_name": "mine"},
    )
    assert not (tmp_path / "out").exists()
    assert list(runs.folder.iterdir()) == []
    directory = runs.runner.trial_directory(runs.number)
    assert {path.name for path in directory.iterdir()} <= {
        "request.json", "result.json", "heartbeat.json", "log.txt", "trial.json",
    }  # fmt: skip
    assert WORKLOADS.read_bytes() == before


def test_the_users_callbacks_run(runs: Runs) -> None:
    runs.measured("marking")
    marks = runs.folder / "marks.txt"
    assert marks.read_text() == "step\n" * 3
    marks.unlink()


def test_a_callback_that_stops_training_leaves_what_was_measured(runs: Runs) -> None:
    measurement = runs.measured("stopping", exact_steps=10)
    assert len(measurement.steps) == 3
    assert measurement.stopped_because == "training_ended"


@pytest.mark.parametrize(
    ("name", "outcome", "said"),
    [
        ("raising", Outcome.CRASHED, "this callback wants no second step"),
        ("nan_loss", Outcome.DIVERGED, "the loss became nan in optimizer step 1"),
        ("unsupported", Outcome.UNSUPPORTED, "needs a package that is not there"),
        ("lost_arguments", Outcome.CRASHED, "per_device_train_batch_size is 3 and not 4"),
        ("no_trainer", Outcome.CRASHED, "returned str; it should return a transformers.Trainer"),
        ("no_such_function", Outcome.CRASHED, "has no function no_such_function"),
    ],
)
def test_failures_are_outcomes_with_their_message(runs: Runs, name: str, outcome: Outcome, said: str) -> None:
    trial = runs.trial(name)
    assert trial.outcome is outcome
    assert trial.failure is not None
    assert said in trial.failure.message


def test_samples_are_those_that_were_drawn_whatever_the_batch_looks_like(runs: Runs) -> None:
    assert runs.measured("graphs").steps.num_samples == (GLOBAL_BATCH,) * 3


def test_a_loader_that_does_not_follow_the_micro_batch_is_refused_where_it_differs(runs: Runs) -> None:
    assert runs.measured("fours_only", micro_batch=4).steps.num_samples == (GLOBAL_BATCH,) * 3
    failure = runs.trial("fours_only", micro_batch=8).failure
    assert failure is not None
    assert failure.error_type == "perftune.errors.ArgumentsChangedError"
    assert failure.message.startswith(
        "an optimizer step trained on 4 samples where 8 were asked for: the data loader of FoursOnly does not follow"
    )


def test_a_callback_that_reads_the_log_finds_it(runs: Runs) -> None:
    assert len(runs.measured("reads_the_log").steps) == 3


def test_events_of_a_whole_training_are_not_called_and_that_is_said(runs: Runs, tmp_path: Path) -> None:
    assert len(Runs(runs.runner, tmp_path).measured("saves_adapter", save_checkpoint=True).steps) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["began"]
    (note,) = [note for note in runs.survey("saves_adapter").notes if "whole training" in note]
    assert note.endswith(": SavesAdapter.on_train_end, SavesAdapter.on_save, SavesAdapter.on_log")


@pytest.mark.parametrize("most_bytes", [200, 20_000, 40_000])
def test_a_checkpoint_without_room_on_the_disk_says_how_much_it_takes(runs: Runs, most_bytes: int) -> None:
    """For a file of the configuration, for the weights, and for what the optimizer keeps."""
    trial = runs.trial("saves_little", save_checkpoint=True, environment={"MOST_BYTES": str(most_bytes)})
    assert trial.outcome is Outcome.DISK_FULL, trial.failure
    assert trial.failure is not None
    assert "the disk is full: a checkpoint takes about" in trial.failure.message
    measured = runs.trial("saves_little", save_checkpoint=True, environment={"MOST_BYTES": str(10**6)})
    assert measured.outcome is Outcome.COMPLETED
    weights = 4 * (measured.measurement.num_trainable_parameters or 0) if measured.measurement else 0
    assert 3 * weights <= (trial.failure.disk_bytes or 0) < 3.2 * weights, "with two moments of Adam"


def test_a_data_loader_worker_that_somebody_killed_is_no_want_of_memory(runs: Runs) -> None:
    arguments = {"dataloader_num_workers": 1}
    trial = runs.trial("killed_worker", evaluate=True, evaluation_seconds=60.0, arguments=arguments)
    assert trial.outcome is Outcome.KILLED, trial
    assert trial.num_kills == 1
    assert trial.failure is not None
    assert "a data loader worker was killed (DataLoader worker (pid" in trial.failure.message


def test_a_checkpoint_that_cannot_be_written_is_noted_and_ends_nothing(runs: Runs) -> None:
    error = runs.measured("tied", save_checkpoint=True).checkpoint_error
    assert error is not None
    assert "share memory" in error
    assert "\n" not in error
    assert runs.measured("plain", save_checkpoint=True).checkpoint_error is None


def test_workers_stay_as_they_are_where_each_would_iterate_all_data(runs: Runs) -> None:
    streamed, listed = runs.survey("without_length"), runs.survey("plain")
    assert streamed.supported["dataloader_num_workers"] == (0,)
    assert "every sample may come twice" in streamed.unsupported["dataloader_num_workers"]["other than 0"]
    assert len(listed.supported["dataloader_num_workers"]) > 1


def test_batches_may_be_tuples(runs: Runs) -> None:
    worst = runs.survey("tuples").worst_samples
    assert runs.measured("tuples", worst_batch=tuple(one.index for one in worst)).worst_batch_ran


def test_memory_that_runs_out_is_an_outcome(runs: Runs) -> None:
    trial = runs.trial("greedy", memory_limit_bytes=GIB)
    assert trial.outcome is Outcome.OUT_OF_MEMORY
    assert trial.failure is not None
    assert "can't allocate memory" in trial.failure.message
    assert trial.failure.peak_bytes is not None


def test_a_trial_that_cannot_win_ends_early(runs: Runs) -> None:
    stop = StopRule(min_steps=3, max_steps=30, give_up_step_seconds=1e-6, relative_half_width=0.0)
    measurement = runs.measured("plain", exact_steps=None, stop=stop)
    assert measurement.stopped_because == "cannot_win"
    assert len(measurement.steps) < 10


def test_a_first_step_that_cannot_win_ends_inside_itself(runs: Runs) -> None:
    trial = runs.trial("slow", micro_batch=1, stop=StopRule(give_up_first_step_seconds=1.0))
    assert trial.outcome is Outcome.GAVE_UP
    assert trial.failure is not None
    assert ": 1 of 8 micro-batches took" in trial.failure.message
    assert trial.failure.step_seconds is not None
    assert 7 < trial.failure.step_seconds / 2.0 < 80, "eight micro-batches of two seconds and what the first adds"


def test_a_trial_ends_with_what_it_has_when_its_time_is_over(runs: Runs) -> None:
    measurement = runs.measured("slow", exact_steps=500, worst_batch=(12,), stop=StopRule(max_wall_seconds=1.0))
    assert measurement.stopped_because == "max_wall_seconds"
    assert len(measurement.steps) == 1
    assert not measurement.worst_batch_ran
    assert measurement.memory.worst_batch_bytes is None


def test_the_optimizer_has_its_state_at_the_worst_batch_though_the_first_steps_are_skipped(runs: Runs) -> None:
    """A real gradient scaler, which needs more steps than the stop rule does. (Fused optimizers are called anyway.)"""
    stop, own = StopRule(min_steps=1, max_steps=2), {"optim": "adamw_torch"}
    worst = (12, 25, 38, 51)
    measurement = runs.measured("scaled", exact_steps=None, stop=stop, worst_batch=worst, arguments=own)
    sizes = [int(line) for line in (runs.folder / "states.txt").read_text().split()]
    num_empty = sizes.count(0) // 2  # micro-batches
    assert num_empty > stop.max_steps, "this scaler skips as many"
    assert measurement.worst_batch_ran
    assert sizes[-1] > 0
    assert measurement.num_warmup_steps >= num_empty - 1
    assert measurement.stopped_because in ("interval", "max_steps")


def test_the_worst_batch_changes_nothing_that_is_learned(runs: Runs) -> None:
    with_it, without = (runs.measured("plain", worst_batch=worst).steps for worst in ((12, 25), ()))
    assert with_it.loss == without.loss
    assert with_it.grad_norm == without.grad_norm


def test_the_survey_finds_the_longest_samples_through_the_collator(runs: Runs) -> None:
    survey = runs.survey("plain")
    assert survey.num_samples == 96
    assert len(survey.worst_samples) == GLOBAL_BATCH
    assert {sample.num_tokens for sample in survey.worst_samples[:7]} == {16}
    assert all(sample.index % 13 == 12 for sample in survey.worst_samples[:7])
    assert survey.base["per_device_train_batch_size"] == GLOBAL_BATCH
    assert survey.trainer_class.endswith("Trainer")


def test_the_survey_of_data_without_length_says_how_far_it_looked(runs: Runs) -> None:
    survey = runs.survey("without_length")
    assert survey.num_samples is None
    assert any("400 samples" in note for note in survey.notes)
    assert survey.supported["train_sampling_strategy"] == ()


def test_an_optimizer_of_the_users_own_is_not_tuned(runs: Runs) -> None:
    survey = runs.survey("own_optimizer")
    assert survey.supported["optim"] == ()
    assert "an optimizer of its own" in survey.unsupported["optim"]["*"]


def test_a_workload_that_cannot_be_built_says_why(runs: Runs) -> None:
    with pytest.raises(WorkloadError, match="this optimizer needs a package"):
        runs.survey("unsupported")


@pytest.mark.parametrize("name", ["classifier", "own_loss", "classifier_stream"])
def test_a_loss_that_grows_with_accumulation_holds_the_micro_batch(runs: Runs, name: str) -> None:
    survey = runs.survey(name)
    assert survey.supported["per_device_train_batch_size"] == (GLOBAL_BATCH,)
    assert any("is averaged over the micro-batch" in note for note in survey.notes)
    losses = [runs.measured(name, micro_batch=micro).steps.loss[0] for micro in (8, 2)]
    assert losses[1] / losses[0] == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize("name", ["in_batch_negatives", "summed_loss"])
def test_a_loss_that_depends_on_who_else_is_in_the_micro_batch_holds_it(runs: Runs, name: str) -> None:
    survey = runs.survey(name)
    assert survey.supported["per_device_train_batch_size"] == (GLOBAL_BATCH,)
    assert any("depends on who else is in a micro-batch" in note for note in survey.notes)


@pytest.mark.parametrize("name", ["classifier", "own_loss", "classifier_stream"])
def test_the_same_is_seen_without_weights(runs: Runs, name: str) -> None:
    real, shapes = (runs.survey(name, weightless=weightless) for weightless in (False, True))
    assert shapes.supported["per_device_train_batch_size"] == (GLOBAL_BATCH,)
    assert shapes.notes == real.notes
    assert shapes.unsupported == real.unsupported


@pytest.mark.parametrize("weightless", [False, True])
@pytest.mark.parametrize(
    "name", ["plain", "corrected_classifier", "images", "lora", "seq2seq", "own_step", "sft", "graphs", "tuples"]
)
def test_a_loss_on_one_scale_leaves_the_micro_batch_free(runs: Runs, name: str, weightless: bool) -> None:
    assert "per_device_train_batch_size" not in runs.survey(name, weightless=weightless).supported


@pytest.mark.parametrize("name", ["reporting", "evaluating"])
def test_reports_and_the_users_own_evaluations_do_not_happen_in_a_trial(runs: Runs, name: str) -> None:
    runs.measured(name)
    assert not (runs.folder / "marks.txt").exists()


def test_the_survey_names_the_callbacks_that_are_taken_out(runs: Runs) -> None:
    assert any("Reports" in note for note in runs.survey("reporting").notes)
