"""Two candidates of a study to how much better one is, from the heats in which they ran beside one another. Pure."""

from statistics import median

from perftune.decisions import compare as compare_in_heats
from perftune.records.candidate import Candidate
from perftune.records.recommendation import Interval, PairedComparison
from perftune.records.study import Study
from perftune.records.trial import Purpose, Trial
from perftune.tuning.heats import PAIRED, heats, process_spread, ran_in_turns

TRAINING = (Purpose.SEARCH, *PAIRED)
"""Trials that train and do nothing else."""


def runs(study: Study, candidate: Candidate, *purposes: Purpose) -> list[Trial]:
    """Completed trials of a candidate, for these purposes."""
    return [t for t in study.of(candidate) if t.purpose in purposes and t.measurement is not None]


def pairs_of(study: Study, candidate: Candidate, reference: Candidate) -> list[tuple[Trial, Trial]]:
    """Runs of both in the same heat."""
    others = {trial.heat: trial for trial in runs(study, reference, *PAIRED)}
    return [(one, others[one.heat]) for one in runs(study, candidate, *PAIRED) if one.heat in others]


def longest_pair(study: Study, candidate: Candidate, reference: Candidate) -> tuple[Trial, Trial] | None:
    """Of the heats in which both ran, the one in which they took most steps; None: they never met."""
    return max(pairs_of(study, candidate, reference), key=lambda pair: common_steps(*pair), default=None)


def common_steps(one: Trial, other: Trial) -> int:
    """How many optimizer steps both took."""
    return min(len(trial.measurement.steps) if trial.measurement else 0 for trial in (one, other))


def compare(study: Study, candidate: Candidate, reference: Candidate, among: int = 1) -> PairedComparison | None:
    """Throughput (or, for that objective, memory saved) over a reference; None where they were in no heat together.

    Args:
        study: with the heats.
        candidate: what is compared.
        reference: with what.
        among: of how many contenders the candidate was chosen as the best: their luck is in the interval too.
    """
    found = compare_in_heats(heats(study), candidate.key, reference.key, among, process_spread(study))
    if found is None or candidate == reference:
        return None
    value, low, high = found.ratio()
    pairs = pairs_of(study, candidate, reference)
    return PairedComparison(
        ratio=Interval(value=value, low=low, high=high),
        num_pairs=len(pairs),
        pairs=tuple((a.number, b.number) for a, b in pairs),
        num_heats=found.num_heats,
        num_rounds=found.num_rounds,
        in_turns=ran_in_turns(study, candidate),
    )


def chance_better(study: Study, candidate: Candidate, reference: Candidate) -> float | None:
    """How likely the candidate is to be better than the reference at all; None where they never met."""
    found = compare_in_heats(heats(study), candidate.key, reference.key, process_spread=process_spread(study))
    return None if found is None else found.chance_above(0.0)


def line_effect(study: Study, candidate: Candidate, twin: Candidate) -> tuple[Interval | None, int | None]:
    """What one line does: speed with it over without it, where both were in a heat; and bytes that it adds."""
    compared = compare(study, candidate, twin)
    pairs = pairs_of(study, candidate, twin) or zip(
        runs(study, candidate, *TRAINING), runs(study, twin, *TRAINING), strict=False
    )
    added = [_peak_bytes(with_line) - _peak_bytes(without) for with_line, without in pairs]
    return (compared.ratio if compared else None), (int(median(added)) if added else None)


def _peak_bytes(trial: Trial) -> int:
    assert trial.measurement is not None
    return trial.measurement.memory.peak_bytes


def carrier(study: Study, candidate: Candidate, knob: str) -> Candidate:
    """The candidate itself, or one with the same value of the knob that ran beside its twin without it."""
    own = study.space.base.settings[knob]
    paired = {t.candidate.key: t.candidate for t in study.completed(*PAIRED)}
    with_line = [c for c in paired.values() if c.settings[knob] == candidate.settings[knob]]
    both = [c for c in with_line if pairs_of(study, c, c.replace(**{knob: own}))]
    return candidate if candidate in both or not both else min(both, key=lambda c: len(without_each_line(c, candidate)))


def is_idle(study: Study, candidate: Candidate, twin: Candidate) -> bool:
    """Whether the line that the twin lacks was measured and does nothing for the objective that is worth a line."""
    found = compare(study, candidate, twin)
    return found is not None and found.ratio.value < 1 + study.probe.worthwhile


def without_each_line(candidate: Candidate, base: Candidate) -> dict[str, Candidate]:
    """Knob -> the candidate with that knob at the user's own value, for each knob that differs."""
    return {
        knob: candidate.replace(**{knob: own}) for knob, own in base.settings.items() if candidate.settings[knob] != own
    }


def describe(candidate: Candidate, base: Candidate) -> str:
    """What a candidate changes of the user's own arguments, in one line."""
    changed = [f"{knob}={value}" for knob, value in candidate.settings.items() if base.settings.get(knob) != value]
    return ", ".join(changed) or "your own arguments"
