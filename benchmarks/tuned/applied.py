"""Every recommended file, trained with by a plain script: its global batch, its throughput and its peak as claimed?

python -m benchmarks.tuned.applied --out benchmarks/tuned/applied.json --minutes 3

Each probe with a `build:` is asked; then a process without perftune trains with the file for 40 steps, in turns with a
trial of the same candidate, so that a machine that became slower since the study is not taken for a wrong claim.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.noise.watched import with_minutes
from perftune.files import write_atomically
from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import ATTENTION, Candidate
from perftune.records.study import Study
from perftune.records.trial import Measurement, Purpose
from perftune.statistics import paired_ratio
from perftune.tuning import probe_study
from perftune.tuning.requests import trial_request

PROBES = Path(__file__).parents[2] / "probes"
NUM_STEPS, NUM_WARMUP_STEPS, ROUNDS = 40, 8, 6
WITHIN = 0.05


def applied(path: Path, minutes: float | None, folder: Path) -> dict[str, Any]:
    """One probe: its study, then plain trainings and trials in turns."""
    study = probe_study(with_minutes(path, minutes), folder / "study")
    assert study.recommendation is not None
    candidate = study.recommendation.candidate
    pairs = []
    with ForkServerRunner(folder / "pairs") as runner:
        for number in range(ROUNDS):
            ways = [lambda: _plain(study, folder), lambda n=number: _trial(study, candidate, runner, n)]
            pairs.append([way() for way in (ways if number % 2 else ways[::-1])][:: 1 if number % 2 else -1])
    plain, trials = zip(*pairs, strict=True)
    claim = study.recommendation.after
    return {
        "probe": path.stem,
        "device": study.survey.device.name,
        "decision": study.recommendation.decision.value,
        "global_batch": study.space.global_batch_size,
        "samples_of_steps": sorted({size for one in plain for size in one["samples"]}),
        "plain_over_trial": [round(x, 4) for x in paired_ratio([(p["rate"], t["rate"]) for p, t in pairs])],
        "plain_over_claim": round(median(one["rate"] for one in plain) / claim.samples_per_second, 4),
        "peak_over_claim": round(max(one["peak_bytes"] for one in plain) / claim.peak_memory_bytes, 4),
        "peak_over_trial": round(max(p["peak_bytes"] for p in plain) / max(t["peak_bytes"] for t in trials), 4),
        "peak_over_limit": round(max(one["peak_bytes"] for one in plain) / study.space.memory_limit_bytes, 4),
    }


def _plain(study: Study, folder: Path) -> dict[str, Any]:
    """A process of its own, in the environment that the user has."""
    result = folder / "plain.json"
    assert study.recommendation is not None
    attention = study.recommendation.candidate.settings.get(ATTENTION)
    command = [sys.executable, "-m", "benchmarks.tuned.plain", str(folder / "study" / "training_args.yaml")]
    command += [str(study.probe.build), str(NUM_STEPS), str(result), *([str(attention)] if attention else [])]
    environment = {**os.environ, "PYTHONPATH": str(PROBES.parent)}
    subprocess.run(command, check=True, cwd=folder, env=environment, capture_output=True)
    figures = json.loads(result.read_text())
    drawn, ends = [0, *figures["drawn"]], figures["ends"]
    samples = [later - earlier for earlier, later in pairwise(drawn)]
    steps = [later - earlier for earlier, later in pairwise(ends)][NUM_WARMUP_STEPS - 1 :]
    return {"samples": samples, "rate": max(samples) / median(steps), "peak_bytes": figures["peak_bytes"]}


def _trial(study: Study, candidate: Candidate, runner: ForkServerRunner, number: int) -> dict[str, Any]:
    """The same steps in a trial."""
    request = trial_request(study, candidate, Purpose.LOSS, number + 1, exact_steps=NUM_STEPS)
    measurement = runner.run(request).measurement
    assert isinstance(measurement, Measurement)
    steps = measurement.steps
    rate = max(steps.num_samples) / median(steps.step_seconds[NUM_WARMUP_STEPS:])
    return {"rate": rate, "peak_bytes": measurement.memory.train_bytes}


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row a probe."""
    lines = [
        "| probe | answer | samples of a step | plain / trial (in turns), / claim | peak / claim | peak / limit |",
        "|---|---|---|---|---|---|",
    ]
    for one in results:
        ratio, low, high = one["plain_over_trial"]
        sizes = ", ".join(map(str, one["samples_of_steps"]))
        lines.append(
            f"| {one['probe']} | {one['decision'].replace('_', ' ')} | {sizes} of {one['global_batch']} | {ratio:.2f} "
            f"({low:.2f} – {high:.2f}), {one['plain_over_claim']:.2f} | {one['peak_over_claim']:.2f} | "
            f"{one['peak_over_limit']:.2f} |"
        )
    good = sum(abs(one["plain_over_trial"][0] - 1) <= WITHIN for one in results)
    lines += ["", f"Throughput within {WITHIN:.0%} of a trial's: {good} of {len(results)}."]
    return "\n".join(lines)


def main() -> None:
    """Ask and train what is missing in the file, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probes", nargs="*", type=Path, help="with a build: function; the shipped ones by default")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, help="instead of each probe's own")
    options = parser.parse_args()
    results = json.loads(options.out.read_text()) if options.out.exists() else []
    known = {one["probe"] for one in results}
    built = [path for path in sorted(PROBES.glob("*.yaml")) if with_minutes(path, None).build]
    for path in options.probes or built:
        if path.stem not in known:
            with tempfile.TemporaryDirectory() as folder:
                results.append(applied(path.absolute(), options.minutes, Path(folder)))
            write_atomically(options.out, json.dumps(results, indent=1) + "\n")
            print(table(results[-1:]), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
