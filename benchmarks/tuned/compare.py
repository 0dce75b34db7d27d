"""Tune every shipped probe twice, then run tuned, stock and the finders' sizes in turns; print and keep the ratios.

python -m benchmarks.tuned.compare --out benchmarks/tuned/results.json

Runs that are there are not run again: the same command goes on where it was interrupted. ``--table`` only prints.
"""

import argparse
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.tuned.finders import auto_find_batch_size, lightning_power_scaler
from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import MICRO_BATCH, PRECISION, Candidate
from perftune.records.study import Study
from perftune.records.summary import samples_per_second, step_speedup
from perftune.records.trial import Outcome, Purpose, Trial
from perftune.spec import load_probe
from perftune.statistics import paired_ratio
from perftune.tuning import probe_study
from perftune.tuning.requests import trial_request

PROBES = Path(__file__).parents[2] / "probes"
ROUNDS = 4
AGAIN = "second answer"
"""The same probe, asked again."""


def compare_probe(path: Path, folder: Path, minutes: float) -> dict[str, Any]:
    """One probe: its study, the same study again, then the paired runs."""
    probe = load_probe(path)
    probe = probe.model_copy(update={"budget": probe.budget.model_copy(update={"minutes": minutes})})
    study, again = (probe_study(probe, folder / f"{path.stem}-{n}") for n in (1, 2))
    tuned, base = chosen(study), study.space.base
    with ForkServerRunner(folder / f"{path.stem}-pairs") as runner:
        pairs = Pairs(study, runner)
        rivals = {"stock": base, **_finders(study, tuned, pairs), AGAIN: chosen(again)}
        named = {"tuned": tuned, **rivals}
        rounds = [{name: pairs.run(named[name]) for name in turned(list(named), k)} for k in range(ROUNDS)]
    return {
        "probe": path.stem,
        "device": study.survey.device.name,
        "minutes": minutes,
        "decision": study.recommendation.decision.value,
        "num_trials": len(study.trials),
        "search_seconds": round(sum(trial.wall_seconds for trial in study.trials), 1),
        "candidates": {name: candidate.settings for name, candidate in named.items()},
        "samples_per_second": {name: [_rate(trials[name]) for trials in rounds] for name in named},
        "speedup": {
            name: [_speedup(trials["tuned"], trials[name]) for trials in rounds]
            for name in rivals
            if all(trials[name].measurement is not None for trials in rounds)
        },
    }


def turned(names: list[str], number: int) -> list[str]:
    """Another one is first in every round, so that none always follows the same."""
    turn = number % len(names)
    return names[turn:] + names[:turn]


def chosen(study: Study) -> Candidate:
    """What a finished study recommends."""
    assert study.recommendation is not None
    return study.recommendation.candidate


def _finders(study: Study, tuned: Candidate, pairs: "Pairs") -> dict[str, Candidate]:
    """What the finders end with, in the precision that perftune chose: they do not look for one themselves."""
    base, most = study.space.base, study.space.global_batch_size
    same = base.replace(**{PRECISION: tuned.settings[PRECISION]})

    def fits(size: int) -> bool:
        if most % size:
            return False
        return pairs.run(same.replace(**{MICRO_BATCH: size})).outcome is Outcome.COMPLETED

    ends = {"auto_find_batch_size": auto_find_batch_size(base.micro_batch, fits)}
    ends["lightning"] = lightning_power_scaler(most, fits)
    return {name: same.replace(**{MICRO_BATCH: size}) for name, size in ends.items()}


class Pairs:
    """Runs trials of one study outside it."""

    def __init__(self, study: Study, runner: ForkServerRunner) -> None:
        self._study, self._runner, self._number = study, runner, 0

    def run(self, candidate: Candidate) -> Trial:
        """One trial as in the race."""
        self._number += 1
        return self._runner.run(trial_request(self._study, candidate, Purpose.RACE, self._number))


def _rate(trial: Trial) -> float | None:
    return None if trial.measurement is None else round(samples_per_second(trial.measurement), 2)


def _speedup(trial: Trial, reference: Trial) -> float:
    assert trial.measurement is not None
    assert reference.measurement is not None
    return round(step_speedup(trial.measurement, reference.measurement), 4)


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive values."""
    return math.exp(mean(math.log(value) for value in values))


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown: one row a probe, the geometric means last."""
    rivals = ("stock", "auto_find_batch_size", "lightning", AGAIN)
    lines = [f"| probe | trials | {' | '.join(f'tuned / {name}' for name in rivals)} | tuned settings |"]
    lines.append("|---|---|" + "---|" * (len(rivals) + 1))
    for result in results:
        cells = []
        for name in rivals:
            values = result["speedup"].get(name)
            cells.append(
                "–" if not values else "{:.2f} ({:.2f} – {:.2f})".format(*paired_ratio([(v, 1.0) for v in values]))
            )
        changed = {k: v for k, v in result["candidates"]["tuned"].items() if v != result["candidates"]["stock"][k]}
        said = ", ".join(f"{k}={v}" for k, v in changed.items()) or "yours kept"
        lines.append(f"| {result['probe']} | {result['num_trials']} | {' | '.join(cells)} | {said} |")
    means = []
    for name in rivals:
        found = [geometric_mean(result["speedup"][name]) for result in results if result["speedup"].get(name)]
        means.append(f"**{geometric_mean(found):.2f}** (n={len(found)})" if found else "–")
    lines.append(f"| **geometric mean** | | {' | '.join(means)} | |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probes", nargs="*", type=Path, help="probe files; all shipped ones by default")
    parser.add_argument("--out", type=Path, required=True, help="results, as JSON")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark"), help="of the studies")
    parser.add_argument("--minutes", type=float, default=3.0, help="budget of each probe")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args(arguments)
    results = json.loads(options.out.read_text()) if options.out.exists() else []
    known = {result["probe"] for result in results}
    for path in [] if options.table else options.probes or sorted(PROBES.glob("*.yaml")):
        if path.stem not in known:
            results.append(compare_probe(path.absolute(), options.folder.absolute(), options.minutes))
            options.out.write_text(json.dumps(results, indent=1) + os.linesep)
            print(table(results), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
