"""Two settings 5 % apart by construction, beside a load: how long until it is told, in turns and one after the other?

python -m benchmarks.noise.five_percent --repeats 4

Both ways ask the same function after every heat, `perftune.decisions.compare`, until the faster one is faster with a
chance of 97.5 %, so that the two-sided 95 % interval of what is believed leaves out that they are equal. In turns a
heat is a race's that is short of time. One after the other it is a run of each, as long as a race's where contenders do
not fit beside each other; what the kernel counted as waiting is taken off them too, and in a third way it is not.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import geometric_mean

from benchmarks.noise.load import load
from perftune.decisions import compare
from perftune.heats import Heat
from perftune.isolation.heat import TurnPlan
from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import Candidate
from perftune.records.probe import Objective
from perftune.records.trial import Purpose, Trial, TrialRequest, WorkloadSource
from perftune.tuning.costs import SLICE_SECONDS, WARMUP_STEPS
from perftune.tuning.heats import goodness_by_round
from perftune.tuning.racing import LEAST_HEATS, LEAST_ROUNDS
from perftune.tuning.requests import STOP_RULES

WORKLOAD = Path(__file__).parent / "workloads" / "products.py"
FASTER, SLOWER = 1e-3, 1.05e-3
PLAN = TurnPlan(warmup_steps=WARMUP_STEPS, slice_seconds=SLICE_SECONDS, max_rounds=LEAST_ROUNDS)
SURE = 0.975
MOST_SECONDS = 400.0
"""After so long it counts as told, which flatters who is slower."""
RunHeat = Callable[[ForkServerRunner, int], list[Trial]]


def request(number: int, learning_rate: float) -> TrialRequest:
    """A run of one of the settings."""
    return TrialRequest(
        number=number,
        purpose=Purpose.RACE,
        candidate=Candidate(settings={"learning_rate": learning_rate}),
        workload=WorkloadSource(build=f"{WORKLOAD}:build", working_directory=str(WORKLOAD.parent)),
        arguments={"learning_rate": learning_rate, "per_device_train_batch_size": 1, "use_cpu": True},
        stop=STOP_RULES[Purpose.RACE],
    )


def in_turns(runner: ForkServerRunner, first: int) -> list[Trial]:
    """A heat of both, side by side."""
    return runner.run_in_turns([request(first, SLOWER), request(first + 1, FASTER)], PLAN, lambda rounds: [*rounds[-1]])


def one_after_the_other(runner: ForkServerRunner, first: int) -> list[Trial]:
    """A run of each; who is first changes."""
    order = (SLOWER, FASTER) if first % 4 == 1 else (FASTER, SLOWER)
    return [runner.run(request(first + place, rate)) for place, rate in enumerate(order)]


def by_wall_time(runner: ForkServerRunner, first: int) -> list[Trial]:
    """A run of each, with what disturbed it."""
    return [
        one.model_copy(update={"measurement": one.measurement.model_copy(update={"stretches": ()})})
        for one in one_after_the_other(runner, first)
        if one.measurement is not None
    ]


WAYS: dict[str, RunHeat] = {
    "in turns": in_turns,
    "one after the other": one_after_the_other,
    "one after the other, by wall time": by_wall_time,
}


def told_after(run_heat: RunHeat, folder: Path) -> tuple[float, int, bool]:
    """Seconds until the faster is told, heats, and whether it was in time."""
    keys = [Candidate(settings={"learning_rate": rate}).key for rate in (FASTER, SLOWER)]
    seen: list[Heat] = []
    with ForkServerRunner(folder) as runner:
        runner.run(request(9999, FASTER))  # the server's own start is nobody's
        begun = time.monotonic()
        while (seconds := time.monotonic() - begun) < MOST_SECONDS:
            found = compare(seen, keys[0], keys[1]) if len(seen) >= LEAST_HEATS else None
            if found is not None and found.chance_above(0.0) >= SURE:
                return seconds, len(seen), True
            trials = run_heat(runner, 1 + 2 * len(seen))
            seen.append({one.candidate.key: goodness_by_round(one, Objective.SAMPLES_PER_SECOND) for one in trials})
    return MOST_SECONDS, len(seen), False


def main() -> None:
    """Measure both ways in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--processes", type=int, default=2, help="of the load (%(default)s)")
    options = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for repeat in range(options.repeats):
        for name, way in WAYS.items():
            with tempfile.TemporaryDirectory() as folder, load(options.processes, seed=repeat):
                seconds, num_heats, in_time = told_after(way, Path(folder))
            found[name].append(seconds)
            print(f"{name}: {'told' if in_time else 'not told'} after {seconds:.0f} s, {num_heats} heats", flush=True)
    for name in list(WAYS)[1:]:
        ratios = [turns / other for turns, other in zip(found["in turns"], found[name], strict=True)]
        print(f"in turns over {name}: {geometric_mean(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
