"""Probes on one core of which a steady load takes half: does the answer come within the minutes that were given?

python -m benchmarks.noise.minutes --core 0 --minutes 3 --out benchmarks/noise/minutes.json probes/*.yaml

What is in the file is not asked again. ``--table`` only prints.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.noise.load import load
from benchmarks.noise.watched import ask, with_minutes
from perftune.errors import PerftuneError
from perftune.files import write_atomically

HEADER = (
    "probe", "minutes", "load", "of the budget", "less its longest trial", "first candidate begun, measured at",
    "search trials", "answer",
)  # fmt: skip


def name_of(path: Path) -> str:
    """A shipped probe has its file's name, a case that of its folder."""
    return path.parent.name if path.stem == "model" else path.stem


def asked(path: Path, minutes: float, has_load: bool, folder: Path) -> dict[str, Any]:
    """One study's figures."""
    probe = with_minutes(path, minutes)
    with load(int(has_load), steady=True):
        try:
            found = ask(probe, folder)
        except PerftuneError as error:
            return {"probe": name_of(path), "minutes": minutes, "has_load": has_load, "error": str(error)}
    return {"probe": name_of(path), "minutes": minutes, "has_load": has_load, **found.figures()}


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row a study, medians below."""
    lines = [f"| {' | '.join(HEADER)} |", "|" + "---|" * len(HEADER)]
    done = [one for one in results if "error" not in one]
    for one in done:
        over = one["seconds"] - one["longest_trial_seconds"]
        lines.append(
            f"| {one['probe']} | {one['minutes']:g} | {'yes' if one['has_load'] else 'no'} | {one['of_budget']:.2f} | "
            f"{over / one['minutes'] / 60:.2f} | {_share(one['first_begun'])}, {_share(one['first_measured'])} | "
            f"{one['num_search_trials']} | {one['decision'].replace('_', ' ')} |"
        )
    lines += [f"\n{one['probe']}: {one['error']}" for one in results if "error" in one]
    if done:
        lines.append(
            f"\nMedians: {median(one['of_budget'] for one in done):.2f} of the budget, first candidate measured at "
            f"{_share(median(one['first_measured'] or 1.0 for one in done))}, "
            f"{median(one['num_search_trials'] for one in done):g} search trials. "
            f"Most of the budget: {max(one['of_budget'] for one in done):.2f}."
        )
    return "\n".join(lines)


def _share(part: float | None) -> str:
    return "never" if part is None else f"{part:.0%}"


def main() -> None:
    """Ask what is missing in the file, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probes", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--core", type=int, help="the one to run on; else all")
    parser.add_argument("--quiet", action="store_true", help="no load beside it")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    results = json.loads(options.out.read_text()) if options.out.exists() else []
    known = {(one["probe"], one["minutes"], one["has_load"]) for one in results}
    for path in options.probes:
        if options.table or (name_of(path), options.minutes, not options.quiet) in known:
            continue
        with tempfile.TemporaryDirectory() as folder:
            results.append(asked(path, options.minutes, not options.quiet, Path(folder)))
        write_atomically(options.out, json.dumps(results, indent=1) + "\n")
        print(table(results[-1:]), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
