"""Every probe in ``probes/`` loads, builds and trains for real; a file there that nothing runs fails the suite."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from perftune.records.candidate import Candidate
from perftune.records.probe import ProbeSpec
from perftune.records.trial import WorkloadSource
from perftune.spec import load_probe
from perftune.trials.arguments import training_arguments
from perftune.trials.workload import build_trainer

FOLDER = Path(__file__).parents[2] / "probes"
PROBES = sorted(FOLDER.glob("*.yaml"))
WORKLOADS = sorted((FOLDER / "workloads").glob("*.py"))
NUM_STEPS = 2
MICRO_BATCH = 16


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Test processes that share the cores would wait for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def source(probe: ProbeSpec) -> WorkloadSource:
    model = probe.workload.model_dump(mode="json") if probe.workload else None
    return WorkloadSource(build=probe.build, model=model, working_directory=str(FOLDER))


def imported_modules(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return named | {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}


@pytest.mark.parametrize("path", PROBES, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_probe_trains(path: Path, tmp_path: Path) -> None:
    probe = load_probe(path)
    candidate = Candidate(settings={"per_device_train_batch_size": MICRO_BATCH})
    values = probe.training_arguments | candidate.training_arguments(probe.global_batch_size)
    quick = {
        "max_steps": NUM_STEPS,
        "eval_strategy": "no",
        "save_strategy": "no",
        "logging_steps": 1,
        "warmup_steps": 0,
    }
    trainer = build_trainer(source(probe), training_arguments(values | quick, tmp_path, "cpu"))
    trained = {name: value for name, value in trainer.model.named_parameters() if value.requires_grad}
    before = {name: value.detach().clone() for name, value in trained.items()}
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == NUM_STEPS
    assert all(0 < loss < 20 for loss in losses)
    assert any(not torch.equal(before[name], value) for name, value in trained.items())
    assert len(trainer.train_dataset) >= 10 * probe.global_batch_size
    assert len(trainer.eval_dataset) >= 50


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
