"""A study's trials to heats of rounds, as decisions take them: how good each contender was in each round. Pure."""

import math
from collections.abc import Sequence
from statistics import median

from perftune.decisions import PEAK_SPREAD, PROCESS_SPREAD
from perftune.heats import Heat
from perftune.records.candidate import Candidate
from perftune.records.disturbance import undisturbed, undisturbed_seconds
from perftune.records.probe import Objective
from perftune.records.study import Study
from perftune.records.summary import steady
from perftune.records.trial import Measurement, Purpose, Slice, Trial

PAIRED = (Purpose.RACE, Purpose.ABLATION)
"""Trials that are run beside others: in turns, or one after the other where they do not fit side by side."""


def heats(study: Study, purposes: Sequence[Purpose] = PAIRED) -> list[Heat]:
    """Every heat of a study, in order. A contender that failed is not in its heat."""
    found: dict[int, dict[str, list[float | None]]] = {}
    for number, trial in _numbered(study, purposes):
        rounds = goodness_by_round(trial, study.probe.objective)
        if rounds:
            found.setdefault(number, {})[trial.candidate.key] = rounds
    return [found[number] for number in sorted(found)]


def process_spread(study: Study) -> float:
    """What is known of how much processes differ in what the study is about."""
    return PEAK_SPREAD if study.probe.objective is Objective.PEAK_MEMORY else PROCESS_SPREAD


def num_heats(study: Study, candidate: Candidate, purposes: Sequence[Purpose] = PAIRED) -> int:
    """In how many heats a candidate was run to its end."""
    return sum(candidate.key in heat for heat in heats(study, purposes))


def ran_in_turns(study: Study, *candidates: Candidate) -> bool:
    """Whether any of them took turns with others; else they ran one after the other."""
    keys = {candidate.key for candidate in candidates}
    return any(t.candidate.key in keys and t.measurement.slices for t in study.completed(*PAIRED) if t.measurement)


def _numbered(study: Study, purposes: Sequence[Purpose]) -> list[tuple[int, Trial]]:
    """Trials with the number of their heat; before there were heats, the n-th runs of all candidates were a round."""
    seen: dict[tuple[str, Purpose], int] = {}
    numbered = []
    for trial in study.completed(*purposes):
        key = (trial.candidate.key, trial.purpose)
        seen[key] = seen.get(key, 0) + 1
        numbered.append((seen[key] if trial.heat is None else trial.heat, trial))
    return numbered


def goodness_by_round(trial: Trial, objective: Objective) -> list[float | None]:
    """How good a trial of a heat was, as a logarithm; None where it had no turn. A trial by itself is one round."""
    measurement = trial.measurement
    assert measurement is not None
    if objective is Objective.PEAK_MEMORY:
        return [-math.log(measurement.memory.peak_bytes)]
    if not measurement.slices:
        steps = steady(undisturbed(measurement))
        work = steps.num_tokens if objective is Objective.TOKENS_PER_SECOND else steps.num_samples
        return [math.log(median(work) / median(steps.step_seconds))]
    last = max(one.round for one in measurement.slices)
    by_round = {one.round: _goodness(one, measurement, objective) for one in measurement.slices}
    return [by_round.get(number) for number in range(last + 1)]


def _goodness(one: Slice, measurement: Measurement, objective: Objective) -> float:
    steps = measurement.steps
    part = slice(one.first_step, one.first_step + one.num_steps)
    work = steps.num_tokens if objective is Objective.TOKENS_PER_SECOND else steps.num_samples
    return math.log(sum(work[part]) / undisturbed_seconds(one, steps.step_seconds[part]))
