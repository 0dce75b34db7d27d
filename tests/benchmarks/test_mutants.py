"""Faults put into source, and runs of tests that notice them, time out, or pass."""

import ast
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mutants.mutate import mutants
from benchmarks.mutants.run import Result, file_of, nearest_tests, table
from benchmarks.mutants.trial import PROJECT

OR = "a or b → a and b"


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("a < b", {"a < b → a <= b", "a < b → a >= b"}),
        ("a >= b", {"a >= b → a > b", "a >= b → a < b"}),
        ("a <= b", {"a <= b → a < b", "a <= b → a > b"}),
        ("a > b", {"a > b → a >= b", "a > b → a <= b"}),
        ("a == b", {"a == b → a != b"}),
        ("a is b", {"a is b → a is not b"}),
        ("a in b", {"a in b → a not in b"}),
        ("a < b < c", {f"a < b < c → {x}" for x in ("a <= b < c", "a >= b < c", "a < b <= c", "a < b >= c")}),
        ("a + b", {"a + b → a - b"}),
        ("a / b", {"a / b → a * b"}),
        ("a += b", {"a += b → a -= b"}),
        ("a = 0", {"0 → 1", "0 → -1"}),
        ("a = 1", {"1 → 2", "1 → 0"}),
        ("a = 2.0", {"2.0 → 2.2"}),
        ("a = 0.0", {"0.0 → 1.0"}),
        ("a = True", {"True → False"}),
        ("a = 'text'", set()),
        ("a and b", {"a and b → a or b"}),
        ("a or b or c", {"a or b or c → a and b and c"}),
        ("not a", {"not a → a"}),
        ("-a", {"-a → a"}),
        ("min(a)", {"min → max"}),
        ("a.max()", {"a.max → a.min"}),
        ("if a: b", {"if a → if not a"}),
        ("a if b() else c", {"a if b() else c → a if not b() else c"}),
        ("def f(): return a", {"return a → return None"}),
        ("f = lambda: a or b", {OR}),
        ("def f(): return a or b", {f"return a or b → return {x}" for x in ("None", "not (a or b)")} | {OR}),
        ("def f(): return None", set()),
        ("def f(a: Literal[1] = 3) -> Literal[2]: return a", {"3 → 4", "3 → 2", "return a → return None"}),
        ("zip(a, b, strict=True)", set()),
        ("assert a < 1", set()),
        ("if TYPE_CHECKING: import a", set()),
    ],
)  # fmt: skip
def test_what_is_changed(code: str, changes: set[str]) -> None:
    assert {mutant.change for mutant in mutants(code)} == changes


def test_a_mutant_is_the_source_with_one_change_in_its_line() -> None:
    source = (PROJECT / "perftune" / "statistics.py").read_text(encoding="utf-8")
    whole = ast.unparse(ast.parse(source))
    made = mutants(source)
    assert len({mutant.source for mutant in made} | {whole}) == len(made) + 1
    for mutant in made:
        compile(mutant.source, "mutant", "exec")
        assert mutant.code == source.splitlines()[mutant.line - 1].strip()
    assert [mutant.line for mutant in made] == sorted(mutant.line for mutant in made)


THREE_ENDS = """
import sys
from pathlib import Path
from benchmarks.mutants import trial
trial.LEAST_CPU_SECONDS = 2.0
project = Path(sys.argv[1])
tests = trial.Tests(project, ["tests/test_small.py"])
file = project / "perftune" / "__init__.py"
for source in (file.read_text(), "def small(): return 4", "def small():\\n    while True: pass", "import nothing"):
    with trial.mutated(file, source):
        print(tests.run().value)
print("perftune" in sys.modules, "decimal" in sys.modules)
"""


def test_tests_pass_fail_or_do_not_end(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name, source in (
        ("perftune/__init__.py", "import decimal\ndef small(): return 3"),
        ("tests/test_small.py", "import perftune\ndef test_small(): assert perftune.small() == 3"),
    ):
        (project / name).parent.mkdir(parents=True)
        (project / name).write_text(source)
    done = subprocess.run([sys.executable, "-c", THREE_ENDS, str(project)], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["passed", "failed", "timed out", "failed", "False True"], done.stderr
    assert (project / "perftune" / "__init__.py").read_text().endswith("return 3")


def test_a_module_is_tried_and_the_working_tree_left_alone() -> None:
    file = PROJECT / "perftune" / "statistics.py"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    command = [sys.executable, "-m", "benchmarks.mutants.run", "perftune.statistics", "--most", "3", "--goal", "0"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "perftune.statistics: 3 of " in done.stdout
    assert "| perftune.statistics | 3 | " in done.stdout
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


def test_files_are_found_by_the_name_of_the_module() -> None:
    assert file_of("perftune.plan.glibc_heap") == PROJECT / "perftune" / "plan" / "glibc_heap.py"
    assert file_of("perftune.plan") == PROJECT / "perftune" / "plan" / "__init__.py"
    assert nearest_tests("perftune.plan.glibc_heap") == ["tests/plan/test_glibc_heap.py"]
    with pytest.raises(FileNotFoundError):
        file_of("perftune.nowhere")
    with pytest.raises(FileNotFoundError, match="--tests"):
        nearest_tests("perftune.nowhere")


def test_the_share_is_of_those_that_are_faults() -> None:
    survivor = mutants("a < b")[0]
    result = Result("perftune.x", (survivor,), num_killed=3, num_timed_out=1, num_equivalent=2)
    assert result.share == 0.75
    assert table([result]).splitlines()[-1] == "| perftune.x | 4 | 3 | 1 | 1 | 2 | 75% |"
    assert Result("perftune.x", (), 0, 0, 0).share == 1.0
