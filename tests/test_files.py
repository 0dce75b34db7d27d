"""A file is the old one or the new one, whole, whatever happens while it is written."""

import os
from pathlib import Path

import pytest

from perftune.files import remove_unfinished, write_atomically


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


def test_only_what_a_killed_writer_leaves_is_removed(tmp_path: Path) -> None:
    for name in (".file.12", ".file.old", "file.12", ".other.12"):
        (tmp_path / name).write_text("")
    remove_unfinished(tmp_path / "file")
    assert {path.name for path in tmp_path.iterdir()} == {".file.old", "file.12", ".other.12"}
