"""The digest of a workload changes with all that its traces depend on, and with nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from perftune.planning.workload_digest import own_modules, workload_digest
from perftune.records.device import Versions
from perftune.records.probe import ModelWorkload, ProbeSpec, RealData, Task
from perftune.records.survey import Survey
from tests.tuning.scripted import probe, survey

FILES = {
    "train.py": "import json\nimport mine.deep\nfrom sizes import WIDTH\nfrom torch import nn\n",
    "mine/__init__.py": "",
    "mine/deep.py": "from . import beside\nfrom .beside import x\n",
    "mine/beside.py": "import train\n",
    "mine/not_imported.py": "",
    "sizes.py": "WIDTH = 3\n",
    "other.py": "",
}


@pytest.fixture
def workload(tmp_path: Path) -> ProbeSpec:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return probe(source_path=str(tmp_path / "model.yaml"), build=f"{tmp_path}/train.py:build")


def test_the_users_own_modules_are_found_by_what_imports_them(workload: ProbeSpec, tmp_path: Path) -> None:
    found = own_modules([tmp_path / "train.py"], [tmp_path])
    assert {str(path.relative_to(tmp_path)) for path in found} == FILES.keys() - {"mine/not_imported.py", "other.py"}


def test_a_file_that_is_no_python_is_a_file_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def build(:")
    assert own_modules([tmp_path / "train.py"], [tmp_path]) == [tmp_path / "train.py"]


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("other.py", "mine/not_imported.py")])
def test_code_counts(workload: ProbeSpec, tmp_path: Path, name: str) -> None:
    before = workload_digest(workload, survey())
    (tmp_path / name).write_text(f"{FILES[name]}y = 1\n")
    assert workload_digest(workload, survey()) != before


def test_files_that_nothing_imports_do_not_count(workload: ProbeSpec, tmp_path: Path) -> None:
    before = workload_digest(workload, survey())
    (tmp_path / "other.py").write_text("z = 1\n")
    assert workload_digest(workload, survey()) == before


def test_the_survey_counts_as_far_as_traces_depend_on_it() -> None:
    before = workload_digest(probe(), survey())
    other_model = survey(num_parameters=2_000_000)
    other_software = survey(versions=Versions(python="3.11", perftune="0.1.0", packages={"torch": "2.14.0"}))
    other_data = survey(worst_samples=survey().worst_samples[1:])
    assert len({before, *(workload_digest(probe(), told) for told in (other_model, other_software, other_data))}) == 4
    assert workload_digest(probe(), survey(flops_per_second={"fp32": 1.0}, notes=("a note",))) == before


def with_data(**changes: str) -> ProbeSpec:
    data = RealData.model_validate(changes)
    return probe(build=None, workload=ModelWorkload(model="someone/tiny", task=Task.CAUSAL_LM, data=data))


def grow(path: Path) -> None:
    path.write_text(path.read_text() + "more\n")


@pytest.mark.parametrize("make", [lambda path: str(path), lambda path: str(path.parent)])
def test_local_data_count(tmp_path: Path, make: Callable[[Path], str]) -> None:
    path = tmp_path / "data" / "text.txt"
    path.parent.mkdir()
    path.write_text("some\n")
    spec = with_data(path=make(path))
    before = workload_digest(spec, survey())
    assert workload_digest(spec, survey()) == before
    grow(path)
    assert workload_digest(spec, survey()) != before


def test_a_name_on_a_hub_is_no_file() -> None:
    spec: ProbeSpec = with_data(id="someone/data")
    told: Survey = survey()
    assert workload_digest(spec, told) == workload_digest(spec, told)
