"""The JSON schema for editors, the template, and the two commands that print them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from perftune.cli import main
from perftune.cli.init import init
from perftune.errors import OutputExistsError, PerftuneError
from perftune.records.candidate import PRECISIONS
from perftune.records.probe import Budget, ProbeSpec, RealData, SyntheticData, Target
from perftune.spec import json_schema, load_probe, template
from perftune.spec.file_form import SECTIONS, BudgetForm, DataForm, Form, ProbeFile, SyntheticForm, TargetForm

PROBES = Path(__file__).parents[2] / "probes"


def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(json_schema())
    return Draft202012Validator(json_schema())


@pytest.mark.parametrize("path", sorted(PROBES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_probes_follow_the_schema_and_load(path: Path) -> None:
    assert list(validator().iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))) == []
    assert load_probe(path).name == path.stem


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"knobs": {"precision": "bf16", "torch_empty_cache_steps": [None, 4]}}, True),
        ({"target": {"memory": "4GiB", "headroom": "10%"}}, True),
        ({"allow": "same-math"}, True),
        ({"data": {"synthetic": {"mean_length": 3}}}, True),
        ({"data": 3}, False),
        ({"build": "x.py:build"}, False),
        ({"task": None}, False),
        ({"objective": "speed"}, False),
        ({"knobs": {"precision": ["fp8"]}}, False),
        ({"knobs": {"optim": []}}, False),
        ({"budget": {"hours": 1}}, False),
        ({"global_batch_size": 0}, False),
    ],
)
def test_the_schema_tells_good_from_bad(changes: dict[str, Any], valid: bool) -> None:
    probe = {"model": "m", "task": "causal-lm", "data": "synthetic", "global_batch_size": 8, **changes}
    probe = {key: value for key, value in probe.items() if value is not None}
    assert validator().is_valid(probe) is valid


def test_every_key_of_the_schema_has_a_description() -> None:
    found = json_schema()
    for properties in [found["properties"], *(d["properties"] for d in found["$defs"].values() if "properties" in d)]:
        for name, property_schema in properties.items():
            reference = property_schema.get("$ref", "").rpartition("/")[2]
            assert property_schema.get("description") or found["$defs"][reference]["description"], name


def test_forms_hold_what_records_hold() -> None:
    assert SyntheticForm.model_fields.keys() == SyntheticData.model_fields.keys()
    assert DataForm.model_fields.keys() - {"synthetic"} == RealData.model_fields.keys()
    assert TargetForm.model_fields.keys() ^ Target.model_fields.keys() == {"memory", "memory_bytes"}
    assert BudgetForm.model_fields.keys() == Budget.model_fields.keys()
    resolved = {"source_path", "build_sha256", "workload"}
    no_code = {"model", "config", "tokenizer", "task", "data"}
    assert ProbeFile.model_fields.keys() - no_code == ProbeSpec.model_fields.keys() - resolved
    knobs = json_schema()["$defs"]["KnobsForm"]["properties"]
    assert knobs["precision"]["anyOf"][0]["enum"] == list(PRECISIONS)


def test_the_template_loads_and_states_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(template(), encoding="utf-8")
    probe = load_probe(path)
    assert probe.workload is not None
    assert isinstance(probe.workload.data, SyntheticData)
    assert probe.workload.config is not None
    assert probe.global_batch_size == 32
    defaults = ProbeSpec(name="model", source_path=str(path), global_batch_size=32)
    own = {"workload", "training_arguments"}
    assert probe.model_dump(exclude=own) == defaults.model_dump(exclude=own)
    assert list(validator().iter_errors(yaml.safe_load(template()))) == []


def test_the_template_names_every_default() -> None:
    stated = yaml.safe_load(template())
    optional = {"knobs", "data", "training_arguments"}
    for section in ((), ("target",), ("budget",)):
        values = stated
        for key in section:
            values = values[key]
        for name, field in SECTIONS[section].model_fields.items():
            if field.default is not None and not field.is_required() and name not in optional:
                assert name in values, name


@pytest.mark.parametrize("form", SECTIONS.values(), ids=lambda form: form.__name__)
def test_the_template_names_every_key(form: type[Form]) -> None:
    for name in form.model_fields:
        assert re.search(rf"\b{name}\b", template()), name


def test_what_the_template_comments_out_is_valid_too(tmp_path: Path) -> None:
    text = re.sub(r"^knobs: \{\}.*\n", "", template(), flags=re.MULTILINE)
    text, num_lines = re.subn(r"^( *)#(?=[a-z_]+:)", r"\1", text, flags=re.MULTILINE)
    path = tmp_path / "all.yaml"
    path.write_text(text, encoding="utf-8")
    probe = load_probe(path)
    assert num_lines >= 20
    assert probe.name == "my-model"
    assert len(probe.knobs) == 14
    assert probe.target.price_per_hour == 2.5


def test_init_writes_the_template_and_says_what_is_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "my.yaml"
    assert main(["init", str(path)]) == 0
    assert path.read_text(encoding="utf-8") == template()
    assert f"perftune probe {path}" in capsys.readouterr().out


def test_init_writes_model_yaml_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["model.yaml"]


def test_init_overwrites_only_when_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("mine")
    assert main(["init", str(path)]) == OutputExistsError.exit_code
    assert "--force" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main(["init", str(path), "--force"]) == 0
    assert path.read_text(encoding="utf-8") == template()


def test_init_does_not_write_where_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputExistsError, match="is a folder"):
        init(tmp_path, force=True)
    with pytest.raises(PerftuneError, match="cannot be written"):
        init(tmp_path / "file" / "model.yaml")


def test_schema_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
