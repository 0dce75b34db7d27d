"""Modules to the share of their mutants that the nearest tests kill, with the line of every survivor.

python -m benchmarks.mutants.run perftune.statistics perftune.plan.communication
python -m benchmarks.mutants.run perftune.search.race --tests tests/search/test_race.py --most 100 --seed 1
"""

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutants.equivalent import reason
from benchmarks.mutants.mutate import Mutant, mutants
from benchmarks.mutants.trial import PROJECT, End, Tests, copied_project, mutated


@dataclass(frozen=True)
class Result:
    """What became of a module's mutants."""

    module: str
    survivors: tuple[Mutant, ...]
    num_killed: int
    num_timed_out: int
    """Of those that were killed."""
    num_equivalent: int
    """Left out, since no test can notice them."""

    @property
    def share(self) -> float:
        """Killed of all that are faults; 1 where there are none."""
        num_faults = self.num_killed + len(self.survivors)
        return self.num_killed / num_faults if num_faults else 1.0


def file_of(module: str, project: Path = PROJECT) -> Path:
    """``perftune.plan.glibc_heap`` -> its file.

    Raises:
        FileNotFoundError: there is none.
    """
    stem = project.joinpath(*module.split("."))
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.exists():
            return path
    raise FileNotFoundError(f"there is no module {module} in {project}")


def nearest_tests(module: str) -> list[str]:
    """The test files that have the module's name, wherever they lie.

    Raises:
        FileNotFoundError: there are none.
    """
    found = sorted((PROJECT / "tests").rglob(f"test_{module.rpartition('.')[2]}.py"))
    if not found:
        raise FileNotFoundError(f"no tests have the name of {module}; say which with --tests")
    return [str(path.relative_to(PROJECT)) for path in found]


def run(module: str, tests: Sequence[str], most: int | None = None, seed: int = 0) -> Result:
    """Try the mutants of a module, or so many of them, drawn by a seed.

    Raises:
        FileNotFoundError: there is no such module.
        ValueError: the tests do not pass as things are.
    """
    every = mutants(file_of(module).read_text(encoding="utf-8"))
    faults = [mutant for mutant in every if reason(module, mutant) is None]
    chosen = faults if most is None or most >= len(faults) else random.Random(seed).sample(faults, most)
    with copied_project() as project:
        file = file_of(module, project)
        runs = Tests(project, tests)
        said = f"{module}: {len(chosen)} of {len(every)} mutants, {' '.join(tests)} ({runs.cpu_seconds:.1f} s a run)"
        print(said, flush=True)
        ends = {}
        for mutant in sorted(chosen, key=lambda mutant: mutant.line):
            with mutated(file, mutant.source):
                ends[mutant] = runs.run()
            if ends[mutant] is End.PASSED:
                print(f"  survived {file.relative_to(project)}:{mutant.line}: {mutant.change}", flush=True)
    survivors = tuple(mutant for mutant, end in ends.items() if end is End.PASSED)
    num_timed_out = sum(end is End.TIMED_OUT for end in ends.values())
    return Result(module, survivors, len(ends) - len(survivors), num_timed_out, len(every) - len(faults))


def table(results: Sequence[Result]) -> str:
    """The results as Markdown."""
    rows = [
        f"| {r.module} | {r.num_killed + len(r.survivors)} | {r.num_killed} | {r.num_timed_out} | {len(r.survivors)} "
        f"| {r.num_equivalent} | {r.share:.0%} |"
        for r in results
    ]
    head = "| module | mutants | killed | of these timed out | survived | left out as equivalent | share killed |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the modules that are named; 0 where each reaches the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="+", metavar="MODULE", help="dotted, as perftune.statistics")
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="instead of the test files that have its name")
    parser.add_argument("--most", type=int, metavar="N", help="so many mutants of each at most, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--goal", type=float, default=0.9, help="share to kill (%(default)s)")
    options = parser.parse_args(arguments)
    results = [
        run(module, options.tests or nearest_tests(module), options.most, options.seed) for module in options.modules
    ]
    print(table(results))
    return 0 if all(result.share >= options.goal for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
