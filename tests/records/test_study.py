"""A study is kept whole, is append-only and is read back as it was."""

import os
from pathlib import Path

import pytest

from perftune.errors import StudyFileError
from perftune.records.study import load_study, save_study, write_atomically
from tests.studies import tuned_study


def test_a_study_is_read_back_as_it_was(tmp_path: Path) -> None:
    study = tuned_study()
    save_study(study, tmp_path / "study.json")
    assert load_study(tmp_path / "study.json") == study


def test_a_trial_number_is_taken_once() -> None:
    study = tuned_study()
    with pytest.raises(ValueError, match="is in the study"):
        study.with_trial(study.trials[0])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 1}', "\x00\xff"])
def test_what_is_no_study_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(StudyFileError, match=r"study\.json"):
        load_study(path)


def test_a_missing_study_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match="cannot be read"):
        load_study(tmp_path / "study.json")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \udcff")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_written_files_have_the_users_own_permissions(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
