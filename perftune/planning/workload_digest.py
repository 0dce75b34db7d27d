"""A workload to the digest of all that its traces depend on: code, data, what a survey saw of it, and the software."""

import ast
import hashlib
import json
import platform
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perftune.records.probe import ProbeSpec, RealData
from perftune.records.survey import Survey

FACTS = (
    "trainer_class", "model_class", "num_parameters", "num_trainable_parameters", "num_samples", "worst_samples",
    "mean_num_tokens", "num_tokens_by_percent", "arguments_class", "versions",
    "files",
)  # fmt: skip
"""What a survey says of a workload whose code, or whose data on some server, may have changed where nobody looks."""
PERFTUNE = Path(__file__).parents[1]
"""Its own code counts whole: a trace that another perftune made may be another trace."""
MOST_FILES = 1000
"""More of the user's files, or more of a folder of data, are not looked at."""


def workload_digest(probe: ProbeSpec, survey: Survey) -> str:
    """Of the workload of a probe; two that are alike have the same traces.

    What of the probe is asked of a trace (arguments, attention, samples) is not in it.
    """
    roots = _roots(probe)
    build = [Path(probe.build.rpartition(":")[0])] if probe.build else []
    facts = {
        "code": {str(path): _sha256(path) for path in own_modules(build, roots)},
        "data": {str(path): _size_and_time(path) for path in sorted(_data_files(probe, roots))},
        "survey": survey.model_dump(mode="json", include=set(FACTS)),
        "perftune": [_sha256(path) for path in sorted(PERFTUNE.rglob("*.py"))],
        "machine": platform.machine(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def own_modules(files: list[Path], roots: list[Path]) -> list[Path]:
    """Files of the user's that these import, directly or not, and these themselves; sorted.

    Only what an import statement names is seen.

    Args:
        files: to start from.
        roots: folders in which Python looks for the user's modules.
    """
    waiting, found = list(files), dict.fromkeys(files)
    while waiting and len(found) < MOST_FILES:
        path = waiting.pop()
        for name, folders in _imported(path, roots):
            for module in _files_of(name, folders):
                if module not in found:
                    found[module] = None
                    waiting.append(module)
    return sorted(found)


def _roots(probe: ProbeSpec) -> list[Path]:
    """Where a child process finds modules of the user's: beside the build file, in the probe's folder, on the path."""
    libraries = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts"))
    beside = [Path(probe.build.rpartition(":")[0]).parent] if probe.build else []
    on_path = [Path(folder) for folder in sys.path if folder and not folder.startswith(libraries)]
    return list(dict.fromkeys([*beside, Path(probe.source_path).absolute().parent, Path.cwd(), *on_path]))


def _imported(path: Path, roots: list[Path]) -> Iterator[tuple[str, list[Path]]]:
    """Every module that a file may import, and where to look for it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, roots) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            folders = [path.parents[node.level - 1]] if 0 < node.level <= len(path.parents) else roots
            prefix = f"{node.module}." if node.module else ""
            yield from ((f"{prefix}{alias.name}", folders) for alias in node.names)


def _files_of(name: str, folders: list[Path]) -> Iterator[Path]:
    """The files that importing a dotted name runs, in the first folder that has its first part."""
    parts = name.split(".")
    for folder in folders:
        places = [folder.joinpath(*parts[:number]) for number in range(1, len(parts) + 1)]
        files = [path for place in places for path in (place / "__init__.py", place.with_suffix(".py"))]
        if found := [path for path in files if path.is_file()]:
            yield from found
            return


def _data_files(probe: ProbeSpec, roots: list[Path]) -> Iterator[Path]:
    """Local files that a workload without code names: data, a model's folder, a tokenizer's."""
    workload = probe.workload
    if workload is None:
        return
    data = workload.data
    named = [workload.model, workload.tokenizer, *((data.path, data.id) if isinstance(data, RealData) else ())]
    for path in {root / name for name in named if name for root in roots}:
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.is_file())[:MOST_FILES]


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _size_and_time(path: Path) -> Any:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
