"""A study is kept whole and is read back as it was; what is no study, or of a newer perftune, is refused by name."""

import json
from pathlib import Path

import pytest

from perftune.errors import StudyFileError
from perftune.records.study import FORMAT_VERSION
from perftune.tuning.study_file import load_study, save_study
from tests.studies import tuned_study


def test_a_study_is_read_back_as_it_was(tmp_path: Path) -> None:
    study = tuned_study()
    save_study(study, tmp_path / "study.json")
    assert load_study(tmp_path / "study.json") == study


def test_a_study_from_before_a_field_was_there_has_its_default(tmp_path: Path) -> None:
    kept = json.loads(tuned_study().model_dump_json())
    for name in ("spent_seconds", "phase_seconds"):
        del kept[name]
    for name in ("chance_better", "best_so_far", "needs"):
        del kept["recommendation"][name]
    (tmp_path / "study.json").write_text(json.dumps(kept))
    assert load_study(tmp_path / "study.json") == tuned_study()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 1}', '{"format_version": "x"}', "\x00\xff"])
def test_what_is_no_study_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(StudyFileError, match=r"study\.json: not a study of format 1 \(") as raised:
        load_study(path)
    assert "\n" not in str(raised.value)


def test_a_newer_study_is_said_to_be_newer_and_not_to_be_wrong(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps({"format_version": FORMAT_VERSION + 1, "field_of_tomorrow": 1}))
    with pytest.raises(StudyFileError, match=rf"format {FORMAT_VERSION + 1}, .* reads up to {FORMAT_VERSION}; update"):
        load_study(path)


@pytest.mark.parametrize("version", [99, "99", 99.0])
def test_a_study_of_a_version_to_come_is_not_read_though_all_else_is_as_now(tmp_path: Path, version: object) -> None:
    kept = json.loads(tuned_study().model_dump_json())
    (tmp_path / "study.json").write_text(json.dumps({**kept, "format_version": version}))
    with pytest.raises(StudyFileError, match="a study of format 99, and this perftune reads up to 1; update perftune"):
        load_study(tmp_path / "study.json")


@pytest.mark.parametrize("version", [0, -1])
def test_there_was_no_version_before_the_first(tmp_path: Path, version: int) -> None:
    kept = json.loads(tuned_study().model_dump_json())
    (tmp_path / "study.json").write_text(json.dumps({**kept, "format_version": version}))
    with pytest.raises(StudyFileError, match=rf"not a study of format 1 \(format_version is {version}\)"):
        load_study(tmp_path / "study.json")


def test_a_missing_study_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match="cannot be read"):
        load_study(tmp_path / "study.json")
