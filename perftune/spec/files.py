"""Names of files, folders and hub ids in a probe file, made absolute and checked as far as the disk can tell."""

import ast
import hashlib
import keyword
import re
from pathlib import Path

from perftune.errors import ProbeFileError
from perftune.spec.file_form import DATA_SUFFIXES
from perftune.spec.messages import did_you_mean, one_of, shown

_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?\Z", re.ASCII)


OTHER_SUFFIXES = (".tsv", ".xlsx", ".xls", ".arrow", ".gz", ".zip", ".zst", ".pkl", ".npz", ".h5", ".xml", ".yaml")
"""Files that nobody takes for the id of a data set, there or not."""
FROM_THE_FILE = "Relative paths start from the folder of the probe file"


class Unusable(ProbeFileError):
    """A name cannot be used; the text says why and what can."""


def absolute(name: str, folder: Path) -> Path:
    """A path as the probe file names it, from the folder of that file.

    Raises:
        Unusable: it cannot be a path.
    """
    try:
        return (folder / Path(name).expanduser()).absolute()
    except (OSError, RuntimeError, ValueError) as error:
        raise Unusable(f"{shown(name)} is no path: {error}") from error


def _kind(path: Path) -> str | None:
    """``file``, ``folder`` or None for nothing there."""
    try:
        return "folder" if path.is_dir() else "file" if path.is_file() else None
    except (OSError, ValueError):
        return None


def _nothing_there(path: Path, suffixes: tuple[str, ...]) -> str:
    folder = path.parent
    if _kind(folder) != "folder":
        return f"there is no folder {folder}. {FROM_THE_FILE}"
    try:
        names = [other.name for other in folder.iterdir() if other.suffix.lower() in suffixes]
    except OSError:
        names = []
    return f"there is no file {path}.{did_you_mean(path.name, names) or f' {FROM_THE_FILE}'}"


def build_function(build: str, folder: Path) -> tuple[str, str]:
    """``path.py:function`` to the same with an absolute path, and the SHA-256 of the file.

    Raises:
        Unusable: it is spelled otherwise, there is no such file, or nothing of that name is in it.
    """
    name, colon, function = build.rpartition(":")
    if not colon or not name or not function.isidentifier() or keyword.iskeyword(function):
        raise Unusable(f"{shown(build)} should be a file and a function, such as train.py:build")
    path = absolute(name, folder)
    if path.suffix != ".py":
        raise Unusable(f"{shown(build)}: the file should be Python, such as train.py:build")
    if _kind(path) != "file":
        raise Unusable(f"{shown(build)}: {_nothing_there(path, ('.py',))}")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise Unusable(f"{shown(build)}: {path} cannot be read: {error.strerror}") from error
    names = _names(source)
    if names is not None and function not in names:
        hint = did_you_mean(function, names) or f" Write `def {function}(args)` that returns a Trainer."
        raise Unusable(f"{shown(build)}: {path} has no {function}.{hint}")
    return f"{path}:{function}", hashlib.sha256(source).hexdigest()


def _names(source: bytes) -> set[str] | None:
    """What a file defines, assigns or imports, wherever; None when that cannot be told without running it."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return None if names & {"*", "globals", "exec", "setattr", "vars"} else names


def data_file(name: str, folder: Path) -> str:
    """A local data file, absolute.

    Raises:
        Unusable: there is none, or its form is not known.
    """
    path = absolute(name, folder)
    kind = _kind(path)
    if path.suffix.lower() not in DATA_SUFFIXES:
        what = "is a folder" if kind == "folder" else f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise Unusable(f"{shown(name)} {what}; name a file that ends in {one_of(DATA_SUFFIXES)}")
    if kind != "file":
        raise Unusable(f"{shown(name)}: {_nothing_there(path, DATA_SUFFIXES)}")
    return str(path)


def data_id(name: str, folder: Path) -> str:
    """The id of a data set.

    Raises:
        Unusable: it cannot be one.
    """
    is_file = _kind(absolute(name, folder)) == "file" or Path(name).suffix.lower() in OTHER_SUFFIXES
    if _HUB_ID.match(name) and not is_file:
        return name
    raise Unusable(
        f"{shown(name)} is neither the id of a data set, such as imdb or nyu-mll/glue, nor a file that ends in "
        f"{one_of(DATA_SUFFIXES)}, nor `synthetic`"
    )


def hub_id_or_folder(name: str, folder: Path) -> str:
    """A hub id as it is, a local folder absolute.

    Raises:
        Unusable: it can be neither.
    """
    path = absolute(name, folder)
    kind = _kind(path)
    if kind == "folder":
        return str(path)
    if kind == "file":
        raise Unusable(f"{shown(name)} is a file; name the folder that holds it")
    if not _HUB_ID.match(name):
        raise Unusable(f"{shown(name)} is no hub id, such as gpt2 or org/name, and there is no folder {path}")
    return name
