"""What is declared, what is pinned and what is said about the folders agree."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_PINNED = {"tensorboard", "torch-tb-profiler", "liger-kernel", "perftune"}
"""Extras that `make` does not install."""


def pinned() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def declared() -> dict[str, Requirement]:
    texts = [*PROJECT["dependencies"], *(text for extra in PROJECT["optional-dependencies"].values() for text in extra)]
    return {canonicalize_name(Requirement(text).name): Requirement(text) for text in texts}


def test_every_dependency_is_pinned_to_a_version_that_it_allows() -> None:
    pins = pinned()
    assert declared().keys() - pins.keys() == NOT_PINNED
    for name, requirement in declared().items():
        if name in pins:
            (pin,) = pins[name].specifier
            assert pin.operator == "=="
            assert requirement.specifier.contains(pin.version), name


def test_pins_work_everywhere() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert not re.search(r"==[^ ;\n]*\+", text), "a local version exists on one machine only"
    assert "@" not in text
    assert "torch==2.13.0\n" in text


@pytest.mark.parametrize("folder", ["benchmarks", "probes", "reports", "tests"])
def test_every_folder_says_what_is_in_it(folder: str) -> None:
    first = (ROOT / folder / "README.md").read_text(encoding="utf-8").splitlines()[0]
    assert len(first.split()) >= 5
    assert not first.startswith("#")


def test_what_the_readme_links_to_is_there() -> None:
    for document in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"):
        links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text(encoding="utf-8"))
        assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_sets_up_its_own_environment_first() -> None:
    done = subprocess.run(["make", "--dry-run", "VENV=not-there", "probe"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    steps = ["-m venv not-there", "install", "-c constraints.txt", "not-there/bin/perftune probe probes/"]
    positions = [done.stdout.find(step) for step in steps]
    assert -1 not in positions
    assert positions == sorted(positions)


def test_ci_runs_the_checks_and_the_tests() -> None:
    path = ROOT / ".ci" / "run"
    assert path.stat().st_mode & 0o111
    text = path.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    assert "make lint" in text
    assert "make test" in text
