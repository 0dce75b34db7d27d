"""A budget is held to the same bounds wherever it comes from: the file, the command line, Python."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import perftune
from perftune.cli import main
from perftune.errors import ProbeFileError
from perftune.records.probe import Budget, ProbeSpec
from perftune.spec import load_probe, probe_from_python, template, with_budget
from perftune.spec.file_form import MAX_MINUTES
from perftune.tuning import probe_study

WRONG = [
    ("trials", 0, "0 should be at least 1"),
    ("trials", -3, "-3 should be at least 1"),
    ("trials", 10**9, "should be at most 1000000"),
    ("minutes", 0, "0 should be more than 0"),
    ("minutes", -1.5, "-1.5 should be more than 0"),
    ("minutes", 1e300, f"should be at most {MAX_MINUTES}"),
    ("minutes", math.nan, "nan"),
    ("minutes", math.inf, "inf"),
]


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProbeSpec:
    """Of a file ``model.yaml`` in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("model.yaml").write_text(template(), encoding="utf-8")
    return load_probe(Path("model.yaml"))


def from_file(key: str, value: float) -> None:
    spelled = {"nan": ".nan", "inf": ".inf"}.get(repr(value), repr(value))
    lines = [line for line in template().splitlines() if not line.startswith(("budget", "  trials", "  minutes"))]
    Path("model.yaml").write_text("\n".join([*lines, f"budget: {{{key}: {spelled}}}"]), encoding="utf-8")
    load_probe(Path("model.yaml"))


def beside_a_file(key: str, value: float) -> None:
    perftune.probe("model.yaml", **{key: value})  # type: ignore[arg-type]


def from_python(key: str, value: float) -> None:
    Path("train.py").write_text("def build(args): ...\n")
    perftune.probe(build="train.py:build", budget={key: value})


@pytest.mark.usefixtures("spec")
@pytest.mark.parametrize(("key", "value", "said"), WRONG)
@pytest.mark.parametrize("way", [from_file, beside_a_file, from_python])
def test_what_cannot_be_a_budget_is_refused(way: Callable[..., None], key: str, value: float, said: str) -> None:
    with pytest.raises(ProbeFileError, match=key) as raised:
        way(key, value)
    assert said in str(raised.value) or "finite number" in str(raised.value)
    assert not Path("runs").exists()


@pytest.mark.usefixtures("spec")
@pytest.mark.parametrize(("key", "value", "_"), WRONG)
def test_the_command_line_refuses_the_same(capsys: pytest.CaptureFixture[str], key: str, value: float, _: str) -> None:
    assert main(["probe", "model.yaml", f"--{key}={value}"]) == 2
    assert key in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [({"trials": True}, "true should be a whole number"), ({"trials": 2.5}, "2.5"), ({"minutes": "5"}, '"5"')],
)
def test_a_budget_of_another_type_is_refused(spec: ProbeSpec, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ProbeFileError, match=rf"^<here>: {next(iter(given))}: {said}"):
        with_budget(spec, **({"trials": None, "minutes": None} | given), source="<here>")


def test_what_is_not_given_stays(spec: ProbeSpec) -> None:
    spec = spec.model_copy(update={"budget": Budget(trials=7, minutes=2)})
    assert with_budget(spec, None, None, "") == spec
    assert with_budget(spec, 9, None, "").budget == Budget(trials=9, minutes=2)
    assert with_budget(spec, None, 3, "").budget == Budget(trials=7, minutes=3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": {"memory": -1}}, {"target": {"memory": 0}}, {"target": {"memory": math.nan}},
        {"target": {"headroom": math.nan}}, {"target": {"headroom": -0.1}}, {"target": {"price_per_hour": math.inf}},
        {"target": {"price_per_hour": 0}}, {"target": {"count": 0}}, {"worthwhile": -0.1}, {"worthwhile": math.inf},
        {"loss_tolerance": 0}, {"loss_tolerance": math.nan}, {"seed": -1}, {"global_batch_size": 0},
        {"global_batch_size": math.nan}, {"global_batch_size": 2.5},
        {"args": {"learning_rate": math.nan}}, {"args": {"per_device_train_batch_size": 0}},
    ],
)  # fmt: skip
@pytest.mark.usefixtures("spec")
def test_other_numbers_from_python_are_refused_as_those_of_a_file_are(wrong: dict[str, Any]) -> None:
    Path("train.py").write_text("def build(args): ...\n")
    with pytest.raises(ProbeFileError) as raised:
        probe_from_python("train.py:build", **({"global_batch_size": 8} | wrong))
    key, value = next(iter(wrong.items()))
    path = f"{key}.{next(iter(value))}" if isinstance(value, dict) else key
    assert path.replace("args", "training_arguments") in str(raised.value)


def test_a_strategy_that_is_none_is_refused_before_anything_runs(spec: ProbeSpec, tmp_path: Path) -> None:
    with pytest.raises(ProbeFileError, match=r"strategy: there is no 'luck'\. Possible: model, tpe, random, grid"):
        probe_study(spec, tmp_path / "run", strategy="luck")
    assert not (tmp_path / "run").exists()
