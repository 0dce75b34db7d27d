"""A study to its file, and back."""

from pathlib import Path

from perftune.files import read_versioned, write_atomically
from perftune.records.study import FORMAT_VERSION, Study


def save_study(study: Study, path: Path) -> None:
    """Write a study whole or not at all."""
    write_atomically(path, study.model_dump_json(indent=1) + "\n")


def load_study(path: Path) -> Study:
    """Read a study.

    Raises:
        StudyFileError: the file is missing, not JSON, not a study, or from a newer perftune.
    """
    return read_versioned(path, Study, newest=FORMAT_VERSION, what="study")
