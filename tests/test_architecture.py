"""The import rules of ARCHITECTURE.md: parts look one way, and the parent's side never loads torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import perftune

ROOT = Path(perftune.__file__).parent
LAYERS: list[set[str]] = [
    {"errors", "units", "statistics", "intervals", "heats", "decisions", "files", "task_folder", "disk", "printable"},
    {"records"},
    {"devices", "catalogue"},
    {"workloads"},
    {"measuring", "tracing"},
    {"surveying", "profiling"},
    {"isolation", "search", "plan", "spec", "gate", "reports"},
    {"emit"},
    {"planning"},
    {"tuning"},
    {"api", "cli", "pytest_plugin"},
    {"", "__main__"},
]
"""Lowest first; a module imports from its own folder and from layers below. Leaves are files and import leaves."""
CHILD_ROOMS = {"workloads", "measuring", "tracing", "surveying", "profiling"}
"""What runs in a process of its own: these folders import torch and transformers, and no other does."""
CUDA = "perftune.devices.cuda"
"""The one module that calls CUDA; the processes that train load it."""
HEAVY = {"torch", "transformers", "accelerate", "datasets", "peft", "trl", "bitsandbytes", "pynvml", "lightning"}


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("perftune", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def part(module: str) -> str:
    """``perftune.search.space`` -> ``search``."""
    return (module + ".").split(".")[1]


def imported(path: Path) -> set[str]:
    """Every perftune module that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names |= {f"{node.module}.{a.name}" for a in node.names if f"{node.module}.{a.name}" in modules()}
    return {name for name in names if name.split(".")[0] == "perftune"}


def layer(name: str) -> int:
    """The number of the layer that a part lies in."""
    return next(number for number, parts in enumerate(LAYERS) if name in parts)


def test_every_part_has_a_layer() -> None:
    known = set().union(*LAYERS)
    assert {part(module) for module in modules()} - known == set()


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_one_way(module: str) -> None:
    own = part(module)
    wrong = {
        name
        for name in imported(modules()[module])
        if part(name) not in {own, ""} and layer(part(name)) >= layer(own) > 0
    }
    assert wrong == set()


def test_leaves_import_leaves_alone() -> None:
    leaves = {name for name in modules() if layer(part(name)) == 0}
    assert leaves
    assert {name for leaf in leaves for name in imported(modules()[leaf]) if name != "perftune"} <= leaves


def test_nothing_is_imported_in_a_circle() -> None:
    graph = {name: imported(path) & modules().keys() - {name} for name, path in modules().items()}
    while ends := {name for name, names in graph.items() if not names & graph.keys()}:
        graph = {name: names for name, names in graph.items() if name not in ends}
    assert graph == {}


@pytest.mark.parametrize("room", sorted(CHILD_ROOMS))
def test_isolation_knows_the_childrens_rooms_by_name_only(room: str) -> None:
    wrong = {name for name in modules() if part(name) == "isolation" and any(
        part(other) == room for other in imported(modules()[name]))}  # fmt: skip
    assert wrong == set()


def test_the_parents_side_loads_nothing_heavy() -> None:
    names = [
        name for name in modules() if part(name) not in CHILD_ROOMS and name != CUDA and not name.endswith("__main__")
    ]
    source = "\n".join(
        ["import sys", *(f"import {name}" for name in names), f"sys.exit(str(sorted({HEAVY} & set(sys.modules))))"]
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


def test_only_the_command_line_prints_or_exits() -> None:
    offenders = set()
    for name, path in modules().items():
        if part(name) in {"cli", "__main__"}:
            continue
        calls = [n.func for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        if any(isinstance(call, ast.Name) and call.id in {"print", "exit", "quit"} for call in calls):
            offenders.add(name)
        if any(isinstance(call, ast.Attribute) and ast.unparse(call) == "sys.exit" for call in calls):
            offenders.add(name)
    assert offenders == set()


def test_torch_cuda_and_nvml_are_called_in_one_module() -> None:
    offenders = set()
    for name, path in modules().items():
        if name == CUDA:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node).startswith(("torch.cuda", "pynvml")):
                offenders.add(f"{name}:{node.lineno}")
    assert offenders == set()
