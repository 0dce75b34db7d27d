"""Every probe asked on a quiet machine and beside a load, then both answers in turns: is the busy one as good?

python -m benchmarks.noise.studies --out benchmarks/noise/studies.json

The load is that of `load.py`, one process and two in alternation. What is in the file is not asked again, so that the
same command goes on where it was interrupted. ``--table`` only prints.
"""

import argparse
import json
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.noise.load import load
from benchmarks.noise.watched import Asked, ask, with_minutes
from perftune.decisions import compare
from perftune.files import write_atomically
from perftune.heats import Heat
from perftune.isolation.heat import TurnPlan
from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import Candidate
from perftune.records.study import Study
from perftune.records.trial import Purpose
from perftune.tuning.heats import heats
from perftune.tuning.requests import trial_request

PROBES = Path(__file__).parents[2] / "probes"
NUM_HEATS, PLAN = 4, TurnPlan(warmup_steps=2, slice_seconds=1.0, max_rounds=8)
WITHIN, TO_BE_HAD = 0.03, 1.10
"""An answer may be so much slower; "keep yours" is wrong where so many times the user's own is to be had."""


def compared(path: Path, num_processes: int, minutes: float | None, folder: Path) -> dict[str, Any]:
    """One probe: both studies, and the two answers and the user's own in turns."""
    probe = with_minutes(path, minutes)
    quiet = ask(probe, folder / "quiet")
    with load(num_processes, seed=zlib.crc32(path.stem.encode())):
        busy = ask(probe, folder / "busy")
    busy_over_quiet, quiet_over_own = _in_turns(quiet, busy, folder / "turns")
    return {
        "probe": path.stem,
        "device": quiet.study.survey.device.name,
        "minutes": probe.budget.minutes,
        "num_processes": num_processes,
        "quiet": quiet.figures(),
        "busy": busy.figures(),
        "busy_over_quiet": busy_over_quiet,
        "quiet_over_own": quiet_over_own,
    }


def _in_turns(quiet: Asked, busy: Asked, folder: Path) -> tuple[list[float], list[float]]:
    """Throughput of the busy answer over the quiet one, and of that over the user's own: ratio, low and high."""
    own = quiet.study.space.base
    field = list({one.key: one for one in (quiet.chosen, busy.chosen, own)}.values())
    seen = _heats(quiet.study, field, folder) if len(field) > 1 else []
    return _ratio(seen, busy.chosen, quiet.chosen), _ratio(seen, quiet.chosen, own)


def _heats(study: Study, field: Sequence[Candidate], folder: Path) -> list[Heat]:
    """Heats of these candidates, in the form in which decisions take them."""
    bare = study.model_copy(update={"trials": ()})
    with ForkServerRunner(folder) as runner:
        for number in range(NUM_HEATS):
            first = 1 + number * len(field)
            requests = [
                trial_request(study, one, Purpose.RACE, first + place, heat=first, worst_batch=False)
                for place, one in enumerate(field)
            ]
            for trial in runner.run_in_turns(requests, PLAN, lambda rounds: list(rounds[-1])):
                bare = bare.with_trial(trial)
    return heats(bare)


def _ratio(seen: Sequence[Heat], first: Candidate, second: Candidate) -> list[float]:
    if first == second:
        return [1.0, 1.0, 1.0]
    found = compare(seen, first.key, second.key)
    return [round(value, 4) for value in found.ratio()] if found else []


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row a probe, what it comes to below."""
    lines = [
        "| probe | load | quiet answer / own | busy answer / quiet | quiet | busy | budget used, quiet and busy |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in results:
        quiet, busy = one["quiet"], one["busy"]
        lines.append(
            f"| {one['probe']} | {one['num_processes']} | {_told(one['quiet_over_own'])} | "
            f"{_told(one['busy_over_quiet'])} | {_answer(quiet)} | {_answer(busy)} | "
            f"{quiet['of_budget']:.2f}, {busy['of_budget']:.2f} |"
        )
    good = sum(is_as_good(one) for one in results)
    wrong = [one["probe"] for one in results if is_wrongly_kept(one)]
    lines += ["", f"Within {WITHIN:.0%} of the quiet answer or better: {good} of {len(results)}."]
    lines.append(f"“Keep yours” where ≥ {TO_BE_HAD - 1:.0%} was to be had: {', '.join(wrong) or 'never'}.")
    return "\n".join(lines)


def is_as_good(one: dict[str, Any]) -> bool:
    """Whether the busy answer's throughput is within a few per cent of the quiet one's, or above it."""
    return bool(one["busy_over_quiet"]) and one["busy_over_quiet"][0] >= 1 - WITHIN


def is_wrongly_kept(one: dict[str, Any]) -> bool:
    """Whether the user was told to keep what is clearly slower than another answer to the same question."""
    to_be_had = one["quiet_over_own"] and one["quiet_over_own"][0] >= TO_BE_HAD
    return bool(to_be_had) and one["busy"]["decision"] == "keep_yours"


def _told(ratio: Sequence[float]) -> str:
    if not ratio:
        return "did not run"
    value, low, high = ratio
    return "the same" if low == high == 1.0 else f"{value:.2f} ({low:.2f} – {high:.2f})"


def _answer(figures: dict[str, Any]) -> str:
    changed = ", ".join(f"{name}={value}" for name, value in figures["changed"].items())
    return f"{figures['decision'].replace('_', ' ')}{': ' if changed else ''}{changed}"


def main() -> None:
    """Ask what is missing in the file, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probes", nargs="*", type=Path, default=sorted(PROBES.glob("*.yaml")))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, help="instead of each probe's own")
    parser.add_argument("--processes", type=int, help="of the load, instead of one and two in alternation")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = json.loads(options.out.read_text()) if options.out.exists() else []
    known = {(one["probe"], one["num_processes"]) for one in results}
    for number, path in enumerate(options.probes):
        num_processes = options.processes or 1 + number % 2
        if options.table or (path.stem, num_processes) in known:
            continue
        with tempfile.TemporaryDirectory() as folder:
            results.append(compared(path, num_processes, options.minutes, Path(folder)))
        write_atomically(options.out, json.dumps(results, indent=1) + "\n")
        print(table(results[-1:]), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
