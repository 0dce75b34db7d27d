"""What a prior saves: trials and OOMs of the search with predictions from traces, against the same search without.

python -m benchmarks.search.saved benchmarks/search/landscapes/*.json     # replayed: minutes
python -m benchmarks.search.saved --real probes/*.yaml                    # real trials: half an hour

Each landscape is searched with the memory that it was recorded with, where everything fits, and with as much as seven
tenths and half of its candidates need, where the others run out of memory. Real probes are searched with the memory
that they name, and with a quarter more than what the user's own arguments were measured to need. A search ends where
nothing is worth another trial, so the table says what each paid and how good an answer it got for that; real answers
that differ are run in turns afterwards.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.search.compare import GOAL, OBJECTIVE
from benchmarks.search.landscape import Landscape, Truth, complete, read
from benchmarks.search.record import survey_request
from benchmarks.search.replay import Replay
from perftune.isolation.runner import ForkServerRunner
from perftune.planning.traces import tracing_runner
from perftune.records.candidate import Space
from perftune.records.probe import ProbeSpec
from perftune.records.study import Study
from perftune.records.summary import step_interval
from perftune.records.survey import Survey
from perftune.records.trial import Failure, Outcome, Purpose, Trial
from perftune.search import ModelSearch, build_space, leader
from perftune.search.strategy import OUT_OF_MEMORY
from perftune.spec import load_probe
from perftune.statistics import paired_ratio
from perftune.tuning.prior import PriorTracer
from perftune.tuning.requests import trial_request

MOST_TRIALS = 40
NUM_PAIRS = 3
TRACE_SECONDS = 60.0
"""For the traces of a real search."""
SHARES = (1.0, 0.7, 0.5)
"""Of the candidates, those that fit."""
ROOM = 1.25
"""Memory of the tight real searches, over what the user's own arguments need."""


class Searched(NamedTuple):
    """One search."""

    num_trials: int
    num_ooms: int
    num_to_goal: int
    """Trials until the regret was small for good; one more than all where it never was."""
    regret: float
    """At the end; infinite where nothing that fits was found."""


def within(landscape: Landscape, limit_bytes: float) -> Landscape:
    """The landscape on a device with less memory: what needed more runs out of it."""
    space = landscape.space.model_copy(update={"memory_limit_bytes": int(limit_bytes)})
    trials = tuple(_limited(trial, limit_bytes) for trial in landscape.trials)
    return landscape.model_copy(update={"space": space, "trials": trials})


def _limited(trial: Trial, limit_bytes: float) -> Trial:
    if trial.measurement is None or trial.measurement.memory.peak_bytes <= limit_bytes:
        return trial
    failure = Failure(kind=Outcome.OUT_OF_MEMORY, message="needs more than the limit")
    return trial.model_copy(update={"outcome": Outcome.OUT_OF_MEMORY, "measurement": None, "failure": failure})


def limit_for(landscape: Landscape, share: float) -> float:
    """The memory limit within whose usable part this share of the candidates fits."""
    peaks: dict[str, int] = {}
    for trial in landscape.trials:
        if trial.measurement is not None:
            key = trial.candidate.key
            peaks[key] = max(peaks.get(key, 0), trial.measurement.memory.peak_bytes)
    return float(np.quantile(list(peaks.values()), share)) / (1 - landscape.space.headroom)


def without_prior(space: Space) -> Space:
    """The space as a study without predictions has it."""
    return space.model_copy(update={"prior": None})


def searched(landscape: Landscape, truth: Truth, space: Space, seed: int) -> Searched:
    """Search a landscape until nothing is worth another trial."""
    search, replay = ModelSearch(seed), Replay(landscape, seed, truth)
    trials: list[Trial] = []
    regrets: list[float] = []
    while len(trials) < MOST_TRIALS and (candidate := search.propose(space, trials, OBJECTIVE)) is not None:
        trials.append(replay.trial(candidate, len(trials)))
        best = leader(space, trials, OBJECTIVE)
        regrets.append(math.inf if best is None else truth.regret(best))
    reached = next((i + 1 for i in range(len(regrets)) if max(regrets[i:]) <= GOAL), len(regrets) + 1)
    ooms = sum(trial.outcome in OUT_OF_MEMORY for trial in trials)
    return Searched(len(trials), ooms, reached, regrets[-1])


def replayed(paths: Sequence[Path], num_seeds: int) -> str:
    """A row for each share of candidates that fit, without and with the prior."""
    lines = [
        "| candidates that fit | prior | trials to the end | OOMs | trials to 2 % | regret at the end | none found |",
        "|---|---|---|---|---|---|---|",
    ]
    for share in SHARES:
        for has_prior in (False, True):
            found = []
            for number, path in enumerate(paths):
                landscape = read(path)
                assert complete(landscape), path
                assert landscape.space.prior is not None, f"{path}: run benchmarks.search.predict first"
                if share < 1:
                    landscape = within(landscape, limit_for(landscape, share))
                truth, space = Truth(landscape), landscape.space if has_prior else without_prior(landscape.space)
                seeds = range(number * num_seeds, (number + 1) * num_seeds)
                found += [searched(landscape, truth, space, seed) for seed in seeds]
            lines.append(_row(share, has_prior, found))
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def _row(share: float, has_prior: bool, found: Sequence[Searched]) -> str:
    trials, ooms, goal = (float(np.mean([one[i] for one in found])) for i in range(3))
    regrets = [one.regret for one in found if math.isfinite(one.regret)]
    return (
        f"| {share:.0%} | {'traces' if has_prior else 'none'} | {trials:.1f} | {ooms:.2f} | {goal:.1f} "
        f"| {np.mean(regrets):.1%} | {len(found) - len(regrets)} of {len(found)} |"
    )


def search_for_real(study: Study, runner: ForkServerRunner) -> Study:
    """The search of a study alone: no race, no checks."""
    search = ModelSearch(study.probe.seed, worthwhile=study.probe.worthwhile)
    while len(study.trials) < MOST_TRIALS:
        candidate = search.propose(study.space, study.trials, study.probe.objective)
        if candidate is None:
            break
        study = study.with_trial(runner.run(trial_request(study, candidate, Purpose.SEARCH, len(study.trials) + 1)))
    return study


def _study(probe: ProbeSpec, survey: Survey, space: Space) -> Study:
    return Study(probe=probe, probe_sha256=probe.sha256, survey=survey, space=space, strategy="model", created="")


def real(paths: Sequence[Path]) -> str:
    """A row for each probe, memory and prior."""
    lines = [
        "| probe | memory | prior | trials | OOMs | seconds, traces included | answer against the other's |",
        "|---|---|---|---|---|---|---|",
    ]
    for path in paths:
        probe = load_probe(path)
        with tempfile.TemporaryDirectory() as name, tracing_runner(Path(name)) as runner:
            survey = runner.survey(survey_request(probe))
            space = build_space(probe, survey)
            first = runner.run(trial_request(_study(probe, survey, space), space.base, Purpose.SEARCH, 0))
            assert first.measurement is not None, first
            tight = int(ROOM * first.measurement.memory.peak_bytes / (1 - space.headroom))
            for what, limit in (("as named", space.memory_limit_bytes), ("tight", tight)):
                limited = space.model_copy(update={"memory_limit_bytes": limit})
                prior = PriorTracer(probe, survey, limited, runner).run(TRACE_SECONDS)
                assert prior is not None, limited
                both = [
                    search_for_real(_study(probe, survey, each), runner)
                    for each in (limited, limited.model_copy(update={"prior": prior}))
                ]
                lines += _real_rows(path.stem, what, both, prior.seconds, in_turns(both, runner))
                print(*lines[-2:], sep="\n", file=sys.stderr, flush=True)
    return "\n".join(lines)


def _real_rows(probe: str, memory: str, both: Sequence[Study], prior_seconds: float, ratio: float) -> list[str]:
    rows = []
    for study, what, extra, against in zip(
        both, ("none", "traces"), (0.0, prior_seconds), (1 / ratio, ratio), strict=True
    ):
        ooms = sum(trial.outcome in OUT_OF_MEMORY for trial in study.trials)
        seconds = sum(trial.wall_seconds for trial in study.trials) + extra
        rows.append(
            f"| {probe} | {memory} | {what} | {len(study.trials)} | {ooms} | {seconds:.0f} "
            f"| {'the same' if ratio == 1 else f'{against:.2f} x' if math.isfinite(ratio) else 'not to be run again'} |"
        )
    return rows


def in_turns(both: Sequence[Study], runner: ForkServerRunner) -> float:
    """How many times as fast the second study's answer is as the first's: each run in turns, after both searches.

    Not a number where one does not run again: these runs are longer, and at the limit a search's answer may run out.
    """
    answers = [leader(study.space, study.trials, study.probe.objective) for study in both]
    if answers[0] == answers[1]:
        return 1.0
    ratios = []
    for number in range(NUM_PAIRS):
        seconds = []
        for study, answer in zip(both, answers, strict=True):
            assert answer is not None
            trial = runner.run(trial_request(study, answer, Purpose.RACE, 1000 + number))
            if trial.measurement is None:
                return math.nan
            seconds.append(step_interval(trial.measurement).value)
        ratios.append(seconds[0] / seconds[1])
    return paired_ratio([(ratio, 1.0) for ratio in ratios])[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--real", action="store_true", help="the paths are probes, and their trials are run")
    options = parser.parse_args(arguments)
    print(real(options.paths) if options.real else replayed(options.paths, options.seeds))


if __name__ == "__main__":
    main()
