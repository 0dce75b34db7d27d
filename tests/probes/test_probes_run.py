"""Every probe in ``probes/`` loads, builds and trains for real; a file there that nothing runs fails the suite."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import Candidate
from perftune.records.survey import SurveyRequest
from perftune.records.trial import Purpose, TrialRequest
from perftune.spec import load_probe, workload_source

pytestmark = pytest.mark.long

FOLDER = Path(__file__).parents[2] / "probes"
PROBES = sorted(FOLDER.glob("*.yaml"))
WORKLOADS = sorted((FOLDER / "workloads").glob("*.py"))
NUM_STEPS = 2
MICRO_BATCH = 16


def files(folder: Path) -> dict[str, int]:
    """Every file below a folder, with the time at which it was last written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServerRunner]:
    """Trials; when all have run, nothing outside their folders is other than before."""
    home, temporary = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("temporary")
    before = files(FOLDER)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HOME", str(home))
        patched.setenv("TMPDIR", str(temporary))
        patched.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patched.setattr("tempfile.tempdir", None)
        with ForkServerRunner(tmp_path_factory.mktemp("probes")) as running:
            yield running
    assert files(FOLDER) == before
    assert not files(home)
    assert {path.name.partition("_")[0] for path in temporary.iterdir()} <= {"torchinductor"}, (
        "what importing torch makes"
    )


def imported_modules(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return named | {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}


@pytest.mark.parametrize("path", PROBES, ids=lambda path: path.stem)
def test_probe_is_surveyed_and_trains_in_a_trial(path: Path, runner: ForkServerRunner) -> None:
    probe = load_probe(path)
    source = workload_source(probe)
    request = SurveyRequest(
        workload=source,
        arguments=probe.training_arguments,
        global_batch_size=probe.global_batch_size,
        device="cpu",
    )
    survey = runner.survey(request)
    on_shapes = runner.survey(request.model_copy(update={"weightless": True}))
    assert on_shapes.supported == survey.supported, "a plan has the choice that a probe has"
    assert on_shapes.num_parameters == survey.num_parameters
    assert on_shapes.num_trainable_parameters == survey.num_trainable_parameters
    assert survey.num_samples is not None
    assert survey.num_samples >= 10 * probe.global_batch_size
    assert survey.has_eval_dataset
    assert len(survey.worst_samples) == probe.global_batch_size
    # In fp32: a processor without instructions for bf16 takes twenty times as long in it.
    candidate = Candidate(settings={"per_device_train_batch_size": MICRO_BATCH, "precision": "fp32"})
    trial = runner.run(
        TrialRequest(
            number=PROBES.index(path) + 1,
            purpose=Purpose.SEARCH,
            candidate=candidate,
            workload=source,
            arguments={**probe.training_arguments, **candidate.training_arguments(probe.global_batch_size)},
            memory_limit_bytes=probe.target.memory_bytes,
            worst_batch=tuple(sample.index for sample in survey.worst_samples[:MICRO_BATCH]),
            exact_steps=NUM_STEPS,
        )
    )
    assert trial.failure is None
    assert trial.measurement is not None
    assert trial.measurement.worst_batch_ran
    assert trial.measurement.steps.num_samples == (probe.global_batch_size,) * NUM_STEPS
    assert all(0 < loss < 20 for loss in trial.measurement.steps.loss)
    assert len(set(trial.measurement.steps.loss)) == NUM_STEPS
    assert all(norm and norm > 0 for norm in trial.measurement.steps.grad_norm)


@pytest.mark.parametrize("path", WORKLOADS, ids=lambda path: path.stem)
def test_workload_is_named_by_a_probe_or_imported_by_one_that_is(path: Path) -> None:
    built = {Path(probe.build.rpartition(":")[0]) for probe in map(load_probe, PROBES) if probe.build is not None}
    assert path in built or any(path.stem in imported_modules(workload) for workload in built)


def test_data_file_is_named_by_a_probe() -> None:
    named = {
        name
        for probe in map(load_probe, PROBES)
        if probe.workload is not None
        for name in (probe.workload.tokenizer, probe.workload.model, getattr(probe.workload.data, "path", None))
    }
    assert {str(path) for path in (FOLDER / "data").iterdir()} <= named


def test_nothing_else_lies_beside_the_probes() -> None:
    beside = {path.name for path in FOLDER.iterdir() if path not in PROBES}
    assert beside == {"README.md", "workloads", "data"}


def test_readme_names_every_probe() -> None:
    text = (FOLDER / "README.md").read_text()
    assert [path.stem for path in PROBES if f"| `{path.stem}` |" not in text] == []
