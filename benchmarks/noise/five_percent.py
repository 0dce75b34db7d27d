"""Two settings 5 % apart by construction, beside a load: how long until it is told, in turns and one after the other?

python -m benchmarks.noise.five_percent --repeats 4

Both ways ask the same question of the same function after every heat, `perftune.decisions.decide`, as a race does. In
turns a heat is a race's. One after the other it is a run of each, as long as a race's where contenders do not fit
beside each other.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import geometric_mean

from benchmarks.noise.load import load
from perftune.decisions import Answer, decide
from perftune.heats import Heat
from perftune.isolation.heat import TurnPlan
from perftune.isolation.runner import ForkServerRunner
from perftune.records.candidate import Candidate
from perftune.records.probe import Objective
from perftune.records.trial import Purpose, Trial, TrialRequest, WorkloadSource
from perftune.tuning.heats import goodness_by_round
from perftune.tuning.racing import MOST_ROUNDS, SLICE_SECONDS, WARMUP_STEPS
from perftune.tuning.requests import STOP_RULES

WORKLOAD = Path(__file__).parent / "workloads" / "products.py"
FASTER, SLOWER = 1e-3, 1.05e-3
PLAN = TurnPlan(warmup_steps=WARMUP_STEPS, slice_seconds=SLICE_SECONDS, max_rounds=MOST_ROUNDS)
WORTHWHILE, LOOKS = 0.02, 8
"""As a probe has it by default, and as many looks as a race may take, by which the chance of an error is divided."""
MOST_SECONDS = 600.0
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


def told_after(run_heat: RunHeat, folder: Path) -> tuple[float, int, bool]:
    """Seconds until the faster is told, heats, and whether it was in time."""
    keys = [Candidate(settings={"learning_rate": rate}).key for rate in (FASTER, SLOWER)]
    seen: list[Heat] = []
    with ForkServerRunner(folder) as runner:
        runner.run(request(9999, FASTER))  # the server's own start is nobody's
        begun = time.monotonic()
        while (seconds := time.monotonic() - begun) < MOST_SECONDS:
            if seen and decide(seen, keys[:1], keys[1], WORTHWHILE, LOOKS).answer is Answer.TUNED:
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
    ratios = []
    for repeat in range(options.repeats):
        found = []
        for name, way in (("in turns", in_turns), ("one after the other", one_after_the_other)):
            with tempfile.TemporaryDirectory() as folder, load(options.processes, seed=repeat):
                seconds, num_heats, in_time = told_after(way, Path(folder))
            found.append(seconds)
            print(f"{name}: {'told' if in_time else 'not told'} after {seconds:.0f} s, {num_heats} heats", flush=True)
        ratios.append(found[0] / found[1])
    print(f"in turns over one after the other: {geometric_mean(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
