"""The command line as a user types it: exit codes, one message, no traceback; and the way to an answer."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import perftune
from perftune.cli import main, plan, probe
from perftune.errors import NoCandidateError, OutputExistsError
from perftune.plan.sharding import SHARDINGS
from perftune.records.study import Study
from perftune.search import STRATEGIES as SEARCHES
from perftune.spec import load_probe, template
from perftune.tuning.run_folder import run_folder
from perftune.tuning.study_file import save_study
from tests.studies import tuned_study


def typed(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perftune", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.fixture
def probe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.yaml"
    path.write_text(template(), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        ("", "model.yaml"),
        ("global_batch_size: [", "model.yaml"),
        ("global_batch_size: -3\nmodel: x\n", "global_batch_size"),
    ],
)
def test_a_bad_file_gets_one_message_and_code_2(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "model.yaml").write_text(content)
    done = typed("probe", "model.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "commands:"),
        (["prob"], "invalid choice: 'prob'"),
        (["--"], "--"),
        (["-x"], "-x"),
        (["probe"], "MODEL.yaml"),
        (["probe", "m.yaml", "n.yaml"], "n.yaml"),
        (["probe", "m.yaml", "--strategy", "luck"], "--strategy: invalid choice: 'luck'"),
        (["probe", "m.yaml", "--minutes", "nan"], "--minutes: nan is not a number of minutes above 0"),
        (["probe", "m.yaml", "--minutes", "0"], "--minutes: 0 is not"),
        (["probe", "m.yaml", "--minutes", "inf"], "--minutes: inf is not"),
        (["probe", "m.yaml", "--minutes", "soon"], "--minutes: soon is not"),
        (["probe", "m.yaml", "--trials", "0"], "--trials: 0 is not a whole number from 1"),
        (["probe", "m.yaml", "--trials", "2.5"], "--trials: 2.5 is not"),
        (["probe", "m.yaml", "--tri", "5"], "--tri"),
    ],
)
def test_a_wrong_command_has_code_2(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: perftune ")
    assert said in err


def test_version_help_and_schema(tmp_path: Path) -> None:
    assert typed("--version", cwd=tmp_path).stdout == f"perftune {perftune.__version__}\n"
    assert "probe" in typed("--help", cwd=tmp_path).stdout
    assert json.loads(typed("schema", cwd=tmp_path).stdout)["type"] == "object"


@pytest.mark.parametrize("verb", [None, "gpus", "init", "plan", "probe", "schema"])
def test_help_loads_the_standard_library_and_little_of_perftune(tmp_path: Path, verb: str | None) -> None:
    source = (
        "import sys\nbefore = set(sys.modules)\nfrom perftune.cli import main\n"
        f"code = main({[*filter(None, [verb]), '--help']})\nloaded = set(sys.modules) - before\n"
        "standard = sys.stdlib_module_names\n"
        "print(*(name for name in loaded if name.split('.')[0] not in standard), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: perftune ")
    verbs = {f"perftune.cli.{name}" for name in ("gpus", "init", "options", "parser", "plan", "probe", "schema")}
    ours = {
        "perftune",
        "perftune.cli",
        "perftune.cli.streams",
        "perftune.errors",
        "perftune.printable",
        "perftune.units",
    }
    assert set(done.stderr.split()) == {*ours, *verbs}


def test_the_names_that_options_take_are_those_that_there_are() -> None:
    assert set(probe.STRATEGIES) == set(SEARCHES)
    assert set(plan.SHARDINGS) == set(SHARDINGS) - {"none"}


def test_output_that_nobody_reads_is_no_defect(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "perftune", "gpus"],
        cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_init_writes_a_probe_and_does_not_overwrite(tmp_path: Path) -> None:
    assert typed("init", cwd=tmp_path).returncode == 0
    assert load_probe(tmp_path / "model.yaml").global_batch_size > 0
    assert typed("init", cwd=tmp_path).returncode == OutputExistsError.exit_code


def tuner(monkeypatch: pytest.MonkeyPatch, result: Any) -> list[dict[str, Any]]:
    """Put a function in the tuner's place that gives, or raises, the result."""
    calls: list[dict[str, Any]] = []

    def probe_study(probe: Any, directory: Path, **options: Any) -> Study:
        calls.append({"probe": probe, "directory": directory, **options})
        if isinstance(result, BaseException):
            raise result
        observer = options["observer"]
        if observer is not None:
            observer.on_phase("search", "99 candidates")
            for trial in result.trials:
                observer.on_trial_end(result, trial)
        return result

    monkeypatch.setattr("perftune.tuning.probe_study", probe_study)
    return calls


def test_the_way_to_an_answer(
    probe_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = tuner(monkeypatch, tuned_study())
    assert main(["probe", "model.yaml", "--trials", "7", "--minutes", "2.5", "--strategy", "tpe"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert len(re.findall(r"^trial \d+ \w+: ", out, re.MULTILINE)) == len(tuned_study().trials)
    assert "trial 4 search: micro-batch 32, bf16, attn_implementation=sdpa: out of memory, 2.05 GiB" in out
    assert "Tuned: 1.71×" in out
    assert all(line == line.rstrip() for line in out.splitlines())
    (call,) = calls
    assert (call["probe"].budget.trials, call["probe"].budget.minutes) == (7, 2.5)
    assert call["prior"] is True
    assert main(["probe", "model.yaml", "--no-prior"]) == 0
    assert calls[1]["prior"] is False
    assert (call["strategy"], call["force"]) == ("tpe", False)
    assert call["directory"] == Path("runs/model-1")


def test_json_is_one_object_and_nothing_else(
    probe_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tuner(monkeypatch, tuned_study())
    assert main(["probe", "model.yaml", "--json", "--out", "here"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["training_args"] == "here/training_args.yaml"
    assert said["recommendation"]["arguments"]["bf16"] is True


def test_quiet_says_only_the_summary(
    probe_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tuner(monkeypatch, tuned_study())
    assert main(["probe", "model.yaml", "--quiet"]) == 0
    assert capsys.readouterr().out.lstrip().startswith("Tuned: ")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (NoCandidateError("none completed"), 7, r"perftune: none completed\.\n"),
        (KeyboardInterrupt(), 130, r"interrupted; what was measured is in runs/model-1; the same command goes on"),
        (ZeroDivisionError("two\nlines"), 1, r"ZeroDivisionError: two lines\. .*full traceback is in \S+\.log"),
    ],
)
def test_how_it_ends_badly(
    probe_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    tuner(monkeypatch, error)
    monkeypatch.setattr("tempfile.tempdir", str(probe_file.parent))
    assert main(["probe", "model.yaml"]) == code
    err = capsys.readouterr().err
    assert re.search(said, err)
    assert "Traceback" not in err
    for log in probe_file.parent.glob("perftune-*.log"):
        assert "Traceback" in log.read_text()


def test_debug_prints_the_traceback(
    probe_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tuner(monkeypatch, ZeroDivisionError("x"))
    monkeypatch.setenv("PERFTUNE_DEBUG", "1")
    assert main(["probe", "model.yaml"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_unfinished_run_goes_on_and_a_finished_one_does_not(probe_file: Path) -> None:
    probe = load_probe(probe_file)
    study = tuned_study().model_copy(update={"probe": probe, "probe_sha256": probe.sha256})
    assert run_folder(probe).directory == Path("runs/model-1")
    save_study(study.model_copy(update={"recommendation": None}), Path("runs/model-2/study.json"))
    assert (run_folder(probe).directory, run_folder(probe).resumed) == (Path("runs/model-2"), True)
    assert run_folder(probe, strategy="tpe").directory == Path("runs/model-3")
    assert run_folder(probe, force=True).directory == Path("runs/model-3")
    save_study(study, Path("runs/model-2/study.json"))
    assert (run_folder(probe).directory, run_folder(probe).resumed) == (Path("runs/model-3"), False)


def test_files_of_others_are_left_alone(probe_file: Path) -> None:
    probe = load_probe(probe_file)
    with pytest.raises(OutputExistsError, match="is a file"):
        run_folder(probe, out=probe_file)
    with pytest.raises(OutputExistsError, match="other files"):
        run_folder(probe, out=Path(), force=True)
    Path("training_args.yaml").write_text("mine: 1")
    with pytest.raises(OutputExistsError, match="is there already"):
        run_folder(probe, out=Path())


def test_from_python(probe_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from perftune import api

    calls: list[Path] = []

    def probe_study(probe: Any, directory: Path, **options: Any) -> Study:
        calls.append(directory)
        return tuned_study()

    monkeypatch.setattr(api, "probe_study", probe_study)
    frame = perftune.probe("model.yaml", trials=3).to_pandas()
    assert calls == [Path("runs/model-1")]
    assert list(frame.index) == list(range(1, 14))
    assert frame.loc[5, "samples_per_second"] == pytest.approx(32 / 0.241, rel=0.01)
    assert frame.loc[4, "outcome"] == "out_of_memory"
    with pytest.raises(TypeError, match="either"):
        perftune.probe()
    with pytest.raises(TypeError, match="seed"):
        perftune.probe("model.yaml", seed=1)
