"""Every mistake of a user gets one message that a newcomer understands: what is wrong, where, and what to do."""

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perftune.cli import main
from perftune.isolation.runner import ForkServerRunner
from perftune.tuning import probe_study
from perftune.tuning.study_file import save_study
from tests.cli.mistakes import IN_CODE, IN_DATA, IN_FILE, SYNTHETIC, TYPED, Mistake
from tests.studies import tuned_study

TOKENIZER = Path(__file__).parents[2] / "probes" / "data" / "shakespeare_tokenizer"
MOST_SENTENCES = 3
MANY = 60


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServerRunner]:
    """One server for all workloads: loading torch takes most of the time of a mistake."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
            patch.setenv(name, "1")
        with ForkServerRunner(tmp_path_factory.mktemp("shared")) as runner:
            yield runner


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    return tmp_path


def told(mistake: Mistake, capsys: pytest.CaptureFixture[str]) -> str:
    """The message, after the same command was typed; checked for what goes for all of them."""
    text = mistake.text.replace("{tokenizer}", str(TOKENIZER))
    Path("model.yaml").write_bytes(text.encode(errors="surrogateescape"))
    for name, content in mistake.files.items():
        Path(name).write_text(content, encoding="utf-8")
    code = main(mistake.arguments)
    out, err = capsys.readouterr()
    assert (out, code) == ("", mistake.code), err
    *_, said = re.split(r"^perftune(?: \w+)?: (?:error: )?", err.rstrip("\n"), flags=re.MULTILINE)
    return said


def check(mistake: Mistake, said: str) -> None:
    assert "Traceback" not in said
    assert "\n" not in said, "one message"
    assert said.endswith((".", "?")), "whole sentences"
    assert len(re.findall(r"[.?](?= [A-Z]|$)", said)) <= MOST_SENTENCES
    assert "perftune/" not in said, "where in the user's things, not in ours"
    for part in mistake.said:
        assert part in said


def named(mistake: Mistake) -> str:
    return mistake.name


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("mistake", [*IN_FILE, *TYPED], ids=named)
def test_what_is_seen_without_the_workload(mistake: Mistake, capsys: pytest.CaptureFixture[str]) -> None:
    check(mistake, told(mistake, capsys))
    assert not Path("runs").exists(), "nothing was begun"


@pytest.mark.long
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("mistake", [*IN_CODE, *IN_DATA], ids=named)
def test_what_is_seen_when_the_workload_is_built(
    mistake: Mistake,
    shared: ForkServerRunner,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @contextmanager
    def running(_: Path) -> Iterator[ForkServerRunner]:
        yield shared

    monkeypatch.setattr("perftune.tuning.probe_study", functools.partial(probe_study, runner=running))
    check(mistake, told(mistake, capsys))


@pytest.mark.usefixtures("folder")
def test_going_on_with_a_probe_that_was_changed(capsys: pytest.CaptureFixture[str]) -> None:
    save_study(tuned_study(), Path("run/study.json"))
    said = ("run/study.json was measured with something else", "the probe (", "global_batch_size", "--out", "--force")
    arguments = ("probe", "model.yaml", "--quiet", "--out", "run")
    mistake = Mistake("changed", SYNTHETIC.replace("global_batch_size: 8", "global_batch_size: 16"), said, 5, arguments)
    check(mistake, told(mistake, capsys))


def test_there_are_many_and_none_is_there_twice() -> None:
    mistakes = [*IN_FILE, *TYPED, *IN_CODE, *IN_DATA]
    assert len({(one.text, one.arguments, *one.files.values()) for one in mistakes}) == len(mistakes) > MANY
