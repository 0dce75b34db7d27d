"""A folder with something in it: gone on with, refused with what differs, moved aside, and never overwritten."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from perftune.errors import IsolationError, OutputExistsError, OutputWriteError, StudyFileError, StudyMismatchError
from perftune.files import remove_unfinished
from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import Candidate
from perftune.records.device import Versions
from perftune.records.probe import Budget, ProbeSpec
from perftune.records.study import Study
from perftune.records.survey import Survey, SurveyRequest
from perftune.records.trial import Failure, Outcome, Purpose, Trial
from perftune.tuning import probe_study
from perftune.tuning.directory import differences, move_aside
from perftune.tuning.study_file import load_study
from tests.tuning.scripted import ScriptedRunner, probe, survey

SMALL = Budget(trials=8, minutes=15)


class SurveyedRunner(ScriptedRunner):
    """Sees another device or other software."""

    found: Survey

    def survey(self, request: SurveyRequest) -> Survey:
        return self.found


def runner_on(**changes: Any) -> SurveyedRunner:
    runner = SurveyedRunner()
    runner.found = survey(**changes)
    return runner


def contents(directory: Path) -> dict[str, bytes]:
    """Every file but the lock."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture
def finished(tmp_path: Path) -> Study:
    return probe_study(probe(budget=SMALL), tmp_path / "run", runner=ScriptedRunner())


def versions(**packages: str) -> Versions:
    before = survey().versions
    return before.model_copy(update={"packages": {**before.packages, **packages}})


DEVICE = survey().device


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"versions": versions(torch="2.14.0")}, r"torch \(2\.13\.0, now 2\.14\.0\)"),
        ({"versions": versions(peft="0.18")}, r"peft \(None, now 0\.18\)"),
        (
            {"device": DEVICE.model_copy(update={"name": "Other CPU", "num_cores": 64})},
            r"the device \(Test CPU, 2 cores; now Other CPU, 64 cores\)",
        ),
        ({"device": DEVICE.model_copy(update={"driver": "595.71"})}, "the device"),
        ({"num_samples": 1200}, r"the number of training samples \(1,000, now 1,200\)"),
        ({"num_samples": None}, r"the number of training samples \(1,000, now None\)"),
        ({"model_class": "BertModel"}, r"the model \(LlamaForCausalLM, now BertModel\)"),
    ],
)
def test_another_device_or_version_is_refused_with_what_differs(
    tmp_path: Path, finished: Study, changes: dict[str, Any], said: str
) -> None:
    before = contents(tmp_path / "run")
    with pytest.raises(StudyMismatchError, match=rf"study\.json was measured with something else: {said}.*--force"):
        probe_study(probe(budget=SMALL), tmp_path / "run", runner=runner_on(**changes))
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("changes", "strategy", "said"),
    [
        ({"seed": 7}, "model", r"the probe \(seed\)"),
        ({"global_batch_size": 64, "worthwhile": 0.1}, "model", r"the probe \(global_batch_size, worthwhile\)"),
        ({"build_sha256": "0" * 64}, "model", r"the probe \(build_sha256\)"),
        ({}, "random", r"the strategy \(model, now random\)"),
    ],
)
def test_another_probe_or_strategy_is_refused_before_anything_is_run(
    tmp_path: Path, finished: Study, changes: dict[str, Any], strategy: str, said: str
) -> None:
    before = contents(tmp_path / "run")
    runner = ScriptedRunner()
    with pytest.raises(StudyMismatchError, match=said):
        probe_study(probe(budget=SMALL, **changes), tmp_path / "run", strategy=strategy, runner=runner)
    assert runner.requests == []
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize(
    "changes", [{"name": "renamed"}, {"source_path": "/moved.yaml"}, {"budget": Budget(trials=99)}]
)
def test_name_place_and_budget_are_no_difference(finished: Study, changes: dict[str, Any]) -> None:
    same: ProbeSpec = finished.probe.model_copy(update=changes)
    assert differences(finished, same, "model", finished.survey) == []


def test_a_package_for_other_devices_is_no_difference(finished: Study) -> None:
    now = finished.survey.model_copy(update={"versions": versions(**{"nvidia-ml-py": "13.0"})})
    assert differences(finished, finished.probe, "model", now) == []


def test_force_moves_aside_again_and_again_and_keeps_every_byte(tmp_path: Path, finished: Study) -> None:
    first = contents(tmp_path / "run")
    for number in (1, 2):
        probe_study(probe(budget=SMALL, seed=number), tmp_path / "run", runner=ScriptedRunner(), force=True)
    assert contents(tmp_path / "run.old-1") == first
    assert load_study(tmp_path / "run.old-2" / "study.json").probe.seed == 1
    assert load_study(tmp_path / "run" / "study.json").probe.seed == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.old-1", "run.old-2"]


def test_force_where_nothing_is_begins(tmp_path: Path) -> None:
    probe_study(probe(budget=SMALL), tmp_path / "new", runner=ScriptedRunner(), force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert move_aside(tmp_path / "nowhere") is None


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_another_perftune_works_in_is_left_alone(tmp_path: Path, finished: Study, force: bool) -> None:
    before = contents(tmp_path / "run")
    with (
        ForkServerRunner(tmp_path / "run"),
        pytest.raises(OutputExistsError, match="another perftune is running here"),
    ):
        probe_study(probe(budget=SMALL), tmp_path / "run", force=force)
    assert contents(tmp_path / "run") == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_trials_of_a_study_that_is_gone_are_neither_adopted_nor_replaced(tmp_path: Path) -> None:
    trial = Trial(
        number=1,
        purpose=Purpose.SEARCH,
        candidate=Candidate(settings={"per_device_train_batch_size": 2}),
        outcome=Outcome.KILLED,
        failure=Failure(kind=Outcome.KILLED, message="of another study"),
        wall_seconds=1.0,
    )
    path = tmp_path / "trials" / "0001" / "trial.json"
    path.parent.mkdir(parents=True)
    path.write_text(trial.model_dump_json(), encoding="utf-8")
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match=r"holds trials.*--out"):
        probe_study(probe(budget=SMALL), tmp_path, runner=ScriptedRunner())
    assert contents(tmp_path) == before


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b'{"format_version": 99}'])
def test_a_study_that_cannot_be_read_is_not_overwritten(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "study.json").write_bytes(text)
    with pytest.raises(StudyFileError, match=r"study\.json"):
        probe_study(probe(budget=SMALL), tmp_path, runner=ScriptedRunner())
    assert contents(tmp_path) == {"study.json": text}


def test_half_written_files_of_a_killed_run_go_and_others_stay(tmp_path: Path) -> None:
    for name in (".study.json.4711", ".report.html.9", ".notes.json.4711", ".study.json.old"):
        (tmp_path / name).write_text("half", encoding="utf-8")
    for name in ("study.json", "report.html", "training_args.yaml"):
        remove_unfinished(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".notes.json.4711", ".study.json.old"]


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOSPC, OutputWriteError, r"cannot be written \(No space left on device\).*finished trials are kept"),
        (
            errno.EMFILE,
            IsolationError,
            r"too many files are open: \d+ are allowed.*ulimit -n",
        ),
    ],
)
def test_what_the_system_refuses_leaves_the_study_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], said: str
) -> None:
    """From the fourth time on that the study is written, and then no more."""
    times = iter(range(100))
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if next(times) > 3:
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr("perftune.files.os.fsync", refuse)
    with pytest.raises(kind, match=said):
        probe_study(probe(budget=SMALL), tmp_path, runner=ScriptedRunner())
    monkeypatch.undo()
    stopped = load_study(tmp_path / "study.json")
    assert len(stopped.trials) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.json"]
    study = probe_study(probe(budget=SMALL), tmp_path, runner=ScriptedRunner())
    assert study.trials[:3] == stopped.trials
    assert study.is_finished
