"""How long a step takes quiet and beside a load, where waiting threads spin as libgomp has it, and as trials have it.

python -m benchmarks.noise.spinning --repeats 4

One trial of each, in turn, in processes of their own; the load never rests, so that it is beside every step. The first
rows say whether the limit costs anything where nothing else runs, the others what it is good for.
"""

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import geometric_mean, median

from benchmarks.noise.load import load
from perftune.isolation.environment import SERVER_ENVIRONMENT
from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import Candidate
from perftune.records.trial import Purpose, StopRule, TrialRequest, WorkloadSource

WORKLOADS = Path(__file__).parents[2] / "probes" / "workloads"
COUNTS = {"libgomp's own": "300000", "limited": SERVER_ENVIRONMENT["GOMP_SPINCOUNT"]}
"""The first is the default of libgomp's env.c where no policy is set."""
STOP = StopRule(min_steps=4, max_steps=40, max_seconds=8.0)
PROCESSES = (0, 1, 2)
"""Of the load."""


def step_seconds(build: str, micro_batch: int, count: str) -> float:
    """The median of a trial's steps, the first left out, by the wall clock.

    Raises:
        RuntimeError: the trial did not complete.
    """
    os.environ["GOMP_SPINCOUNT"] = count
    request = TrialRequest(
        number=1,
        purpose=Purpose.SEARCH,
        candidate=Candidate(settings={"per_device_train_batch_size": micro_batch}),
        workload=WorkloadSource(build=f"{WORKLOADS / build}:build", working_directory=str(WORKLOADS)),
        arguments={"per_device_train_batch_size": micro_batch, "use_cpu": True},
        stop=STOP,
    )
    with tempfile.TemporaryDirectory() as folder, ForkServerRunner(Path(folder)) as runner:
        trial = runner.run(request)
    if trial.measurement is None:
        raise RuntimeError(f"{build} did not complete: {trial.failure}")
    return median(trial.measurement.steps.step_seconds[1:])


def compare(build: str, micro_batch: int, num_processes: int, repeats: int) -> None:
    """Print both, and the ratio of each pair."""
    found: dict[str, list[float]] = {name: [] for name in COUNTS}
    with ExitStack() as stack:
        if num_processes:
            stack.enter_context(load(num_processes, steady=True))
        for _ in range(repeats):
            for name, count in COUNTS.items():
                found[name].append(step_seconds(build, micro_batch, count))
    ratios = [other / own for own, other in zip(*found.values(), strict=True)]
    seconds = ", ".join(f"{name} {geometric_mean(values):.3f} s" for name, values in found.items())
    ratio = f"{geometric_mean(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(
        f"{build}, micro-batch {micro_batch}, load of {num_processes}: {seconds}; limited over own {ratio}", flush=True
    )


def main() -> None:
    """Compare on some of the shipped workloads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4)
    options = parser.parse_args()
    for num_processes in PROCESSES:
        for build, micro_batch in (("minilm_classifier.py", 4), ("code_lm.py", 4)):
            compare(build, micro_batch, num_processes, options.repeats)


if __name__ == "__main__":
    main()
