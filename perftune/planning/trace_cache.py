"""A key to the trace that an earlier run has made: JSON files in one folder, which all runs of a user share.

What is not there, or cannot be read or written, is traced as if there were no cache.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import Field

from perftune.errors import StudyFileError
from perftune.files import read_versioned, write_atomically
from perftune.records.base import Record
from perftune.records.trace import Trace
from perftune.units import MIB

FORMAT_VERSION = 1
"""History: 1 (0.1.0) the first."""
MAX_BYTES = 256 * MIB
"""Of all files together: a trace takes 0.1 to 10 MiB."""


class KeptTrace(Record):
    """One file of the cache."""

    format_version: int = FORMAT_VERSION
    trace: Trace
    peaks_bytes: dict[str, int] = Field(default_factory=dict)
    """Peaks that were found by replaying it, by what they are of: they take longer to find than to read."""


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """``$PERFTUNE_CACHE``, or ``perftune`` in ``$XDG_CACHE_HOME`` or else in ``~/.cache``.

    A relative ``XDG_CACHE_HOME`` does not count (https://specifications.freedesktop.org/basedir-spec/latest/).

    Raises:
        RuntimeError: the user has no home.
    """
    own, shared = environment.get("PERFTUNE_CACHE"), environment.get("XDG_CACHE_HOME")
    if own:
        return Path(own).absolute()
    return (Path(shared) if shared and Path(shared).is_absolute() else Path.home() / ".cache") / "perftune"


class TraceCache:
    """The traces in one folder; of too many, those go that were not used for the longest time."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._folder, self._max_bytes = folder, max_bytes

    @classmethod
    def of_user(cls) -> "TraceCache | None":
        """The one that a user's runs share; None where there is no home to keep it in."""
        try:
            return cls(cache_folder() / "traces")
        except RuntimeError:
            return None

    def get(self, key: str) -> KeptTrace | None:
        """What is kept under a key; None where nothing whole is."""
        path = self._path(key)
        try:
            kept = read_versioned(path, KeptTrace, newest=FORMAT_VERSION, what="trace")
        except StudyFileError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return kept

    def put(self, key: str, kept: KeptTrace) -> None:
        """Keep a trace, in place of what was kept under its key."""
        with contextlib.suppress(OSError):
            write_atomically(self._path(key), kept.model_dump_json())
            self._remove_oldest()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _remove_oldest(self) -> None:
        left = self._max_bytes
        for _, size, path in sorted(self._files(), reverse=True):
            left -= size
            if left < 0:
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """When each was used last, in nanoseconds, and its bytes; what a killed writer left behind counts too."""
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                yield found.st_mtime_ns, found.st_size, path
