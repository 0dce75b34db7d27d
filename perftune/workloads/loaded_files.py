"""A workload that is being built to the files of the user's own that it loads: modules, data, weights. Child side.

What is read by compiled code that does not ask Python to open a file is known only where a data set or a model tells
where it is from.
"""

import contextlib
import hashlib
import os
import site
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

MOST_FILES = 1000
"""More are not looked at."""
CHUNK_BYTES, MOST_CHUNKS = 1 << 16, 64
"""Of a file that is larger than so many chunks, as many are read, evenly spread, beside its size: 4 MiB."""
WEIGHTS = ("*.safetensors", "*.bin")
"""What compiled code reads of a model's folder."""
INFO = "dataset_info.json"
"""Beside every file of the cache of the datasets library."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr/share")
CACHES = ("HF_HOME", "HF_DATASETS_CACHE", "HF_HUB_CACHE", "XDG_CACHE_HOME", "TORCH_HOME", "PERFTUNE_CACHE")
"""Variables that name folders of caches: what lies there is made from something else."""


class LoadedFiles:
    """Listens, as a context manager, to which files Python opens; afterwards tells which of them are the user's."""

    def __init__(self, run_folder: Path, workload: Mapping[str, Any] | None = None) -> None:
        """
        Args:
            run_folder: of this study; what lies there is perftune's.
            workload: a declaration of one without code, whose ``model``, ``tokenizer`` and ``data`` may name files.
        """
        self._read: dict[str, None] = {}
        self._written: set[str] = set()
        self._others = (*_libraries(), str(run_folder.absolute()))
        self._workload = workload
        self._listens = False
        self._begun_ns = 0

    def __enter__(self) -> "LoadedFiles":
        self._listens, self._begun_ns = True, time.time_ns()
        sys.addaudithook(self._hear)  # it stays as long as the process, which is why this is one of its own
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listens = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not self._listens or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        path, mode, flags = arguments
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (nothing here may open a file)
        if {*(mode or "")} & {*"wax+"} or (mode is None and flags & WRITES):
            self._written.add(name)
        else:
            self._read[name] = None

    def digests(self, trainer: Any) -> dict[str, str]:
        """Path -> digest of every file, sorted.

        Left out are libraries, caches, hidden files, and what was written meanwhile: it is made from something else.
        """
        names = {*self._read, *_modules(), *_named(self._workload)}
        told: dict[str, str] = {}
        with contextlib.suppress(Exception):  # data sets and models of users answer as they like
            names |= {*_origins(trainer)}
            told = _cached(trainer)
        names -= self._written
        own = sorted(name for name in names if not self._is_of_others(name))
        return told | {name: digest for name in own[:MOST_FILES] if (digest := self._digest(Path(name)))}

    def _is_of_others(self, name: str) -> bool:
        path, here = Path(name), Path.cwd()
        seen = path.relative_to(here) if path.is_relative_to(here) else path
        is_hidden = path.suffix == ".pyc" or any(part.startswith(".") for part in seen.parts)
        return is_hidden or any(path.is_relative_to(folder) for folder in self._others)

    def _digest(self, path: Path) -> str | None:
        try:
            if not path.is_file() or path.stat().st_mtime_ns >= self._begun_ns:
                return None
            return _digest(path)
        except OSError:
            return None


def _libraries() -> Iterator[str]:
    """Folders of what is not the user's own."""
    yield from (path for path in sysconfig.get_paths().values())
    yield from (path for path in (sys.prefix, sys.base_prefix) if path not in ("/", "/usr", "/usr/local"))
    yield site.getusersitepackages()
    yield from (*SYSTEM, str(Path(__file__).parents[1]))
    yield from (os.path.abspath(os.environ[name]) for name in CACHES if os.environ.get(name))  # noqa: PTH100
    yield os.path.expanduser("~/.cache")  # noqa: PTH111 (Path raises where there is no home)


def _modules() -> Iterator[str]:
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    yield from (os.path.abspath(file) for file in files if isinstance(file, str))  # noqa: PTH100


def _data_sets(trainer: Any) -> dict[str, Any]:
    held_out = trainer.eval_dataset
    each = {f"eval_dataset[{name!r}]": one for name, one in held_out.items()} if isinstance(held_out, dict) else {}
    return {"train_dataset": trainer.train_dataset, **(each or {"eval_dataset": held_out})}


def _files_behind(dataset: Any) -> list[Path]:
    """Of a data set of the datasets library; none for others."""
    files = getattr(dataset, "cache_files", None)
    return [Path(file["filename"]).absolute() for file in files] if isinstance(files, list) else []


def _cached(trainer: Any) -> dict[str, str]:
    """Data sets of which only a cache was read -> the folder of it, whose name has a digest of what it was made from.

    That of a generator is left out: what it generates from may have another digest every time.
    """
    found = {}
    for name, dataset in _data_sets(trainer).items():
        made = {path.parent for path in _files_behind(dataset) if (path.parent / INFO).is_file()}
        kind = getattr(getattr(dataset, "info", None), "builder_name", None)
        if made and kind != "generator":
            found[f"the {kind} data of {name}"] = " ".join(sorted(map(str, made)))
    return found


def _origins(trainer: Any) -> Iterator[str]:
    """Files that data sets of the datasets library lie in, and a model that is from a folder."""
    for dataset in _data_sets(trainer).values():
        yield from map(str, _files_behind(dataset))
    folder = getattr(getattr(trainer.model, "config", None), "_name_or_path", None)
    if folder and Path(folder).is_dir():
        yield from (str(path.absolute()) for pattern in WEIGHTS for path in Path(folder).glob(pattern))


def _named(workload: Mapping[str, Any] | None) -> Iterator[str]:
    """What a workload without code names."""
    declared = workload or {}
    data = declared.get("data") or {}
    names = (declared.get("model"), declared.get("tokenizer"), data.get("path"))
    yield from (os.path.abspath(name) for name in names if isinstance(name, str))  # noqa: PTH100


def _digest(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    step = max(CHUNK_BYTES, (size - CHUNK_BYTES) // (MOST_CHUNKS - 1))
    with path.open("rb") as file:
        for start in (*range(0, size, step), max(0, size - CHUNK_BYTES)):
            file.seek(start)
            digest.update(file.read(CHUNK_BYTES))
    return digest.hexdigest()
