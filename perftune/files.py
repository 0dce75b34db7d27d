"""Texts and records to files that are whole or not there, and back: what is no record of the version is named."""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from perftune.errors import StudyFileError

RecordT = TypeVar("RecordT", bound=BaseModel)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that a reader, or a crash at any moment, sees the old or the new text whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def remove_unfinished(path: Path) -> None:
    """Remove what `write_atomically` leaves of a file when it is killed; nobody else may be writing it."""
    for fresh in path.parent.glob(f".{path.name}.*"):
        if fresh.suffix[1:].isdecimal():
            fresh.unlink(missing_ok=True)


def read_versioned(path: Path, record: type[RecordT], *, newest: int, what: str) -> RecordT:
    """Read a record that was written as JSON, with the version of its format in ``format_version``.

    Args:
        path: the file.
        record: what is in it.
        newest: the newest version of the format that is known here; 1 is the oldest.
        what: the user's word for it, such as ``study``.

    Raises:
        StudyFileError: the file cannot be read, is of a newer version, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyFileError(f"{path}: cannot be read ({error.strerror}); name the {what}.json of a run") from error
    except UnicodeDecodeError as error:
        raise StudyFileError(f"{path}: not a {what} of format {newest} (it is no text in UTF-8)") from error
    version = _version(text)
    if version is not None and version < 1:
        raise StudyFileError(f"{path}: not a {what} of format {newest} (format_version is {version})")
    if version is not None and version > newest:
        raise StudyFileError(
            f"{path}: a {what} of format {version}, and this perftune reads up to {newest}; update perftune"
        )
    try:
        return record.model_validate_json(text)
    except ValidationError as error:
        raise StudyFileError(f"{path}: not a {what} of format {newest} ({_first(error)})") from error


class _Versioned(BaseModel):
    format_version: int


def _version(text: str) -> int | None:
    try:
        return _Versioned.model_validate_json(text).format_version
    except ValidationError:
        return None


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, in a line, and how many more there are."""
    first, *others = error.errors(include_url=False, include_input=False)
    where = ".".join(str(part) for part in first["loc"])
    said = f"{where}: {first['msg']}" if where else first["msg"]
    return f"{said}; and {len(others)} more" if others else said
