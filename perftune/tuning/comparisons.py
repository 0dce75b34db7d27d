"""Two candidates of a study to how much better one is: in pairs of runs that lie next to each other in time."""

from collections.abc import Sequence
from statistics import median

from perftune.records.candidate import Candidate
from perftune.records.probe import Objective
from perftune.records.recommendation import Interval, PairedComparison
from perftune.records.study import Study
from perftune.records.summary import steady, times_better
from perftune.records.trial import Purpose, Trial
from perftune.statistics import median_interval, paired_ratio

PAIRED = (Purpose.RACE, Purpose.ABLATION)
"""Trials that are run in turns with others."""
TRAINING = (Purpose.SEARCH, *PAIRED)


def runs(study: Study, candidate: Candidate, *purposes: Purpose) -> list[Trial]:
    """Completed trials of a candidate, for these purposes."""
    return [t for t in study.of(candidate) if t.purpose in purposes and t.measurement is not None]


def neighbours(trials: Sequence[Trial], others: Sequence[Trial]) -> list[tuple[Trial, Trial]]:
    """Pairs of runs that are nearest in time, each run in one pair, in the order of the first ones."""
    by_distance = sorted((abs(a.number - b.number), i, j) for i, a in enumerate(trials) for j, b in enumerate(others))
    partner: dict[int, int] = {}
    for _, i, j in by_distance:
        if i not in partner and j not in partner.values():
            partner[i] = j
    return [(trials[i], others[j]) for i, j in sorted(partner.items())]


def pairs_of(study: Study, candidate: Candidate, reference: Candidate) -> list[tuple[Trial, Trial]]:
    """Runs of both that were taken in turns, as pairs."""
    return neighbours(runs(study, candidate, *PAIRED), runs(study, reference, *PAIRED))


def compare(study: Study, candidate: Candidate, reference: Candidate) -> PairedComparison | None:
    """Throughput (or, for that objective, memory saved) over a reference; None without a pair of runs."""
    pairs = pairs_of(study, candidate, reference)
    if not pairs or candidate == reference:
        return None
    value, low, high = paired_ratio([(times_better(a, b, study.probe.objective), 1.0) for a, b in pairs])
    return PairedComparison(
        ratio=Interval(value=value, low=low, high=high),
        num_pairs=len(pairs),
        pairs=tuple((a.number, b.number) for a, b in pairs),
    )


def is_worth_it(comparison: PairedComparison | None, worthwhile: float) -> bool:
    """Whether the whole interval lies above the reference, and the gain is one that matters."""
    return comparison is not None and comparison.ratio.low > 1 and comparison.ratio.value >= 1 + worthwhile


def line_effect(study: Study, candidate: Candidate, twin: Candidate) -> tuple[Interval | None, int | None]:
    """What one line does: speed with it over without it, from neighbouring runs step by step; and bytes it adds."""
    pairs = pairs_of(study, candidate, twin) or neighbours(
        runs(study, candidate, *TRAINING), runs(study, twin, *TRAINING)
    )
    ratios: list[float] = []
    bytes_added: list[int] = []
    for with_line, without in pairs:
        assert with_line.measurement is not None
        assert without.measurement is not None
        fast, slow = steady(with_line.measurement).step_seconds, steady(without.measurement).step_seconds
        ratios += [one / other for other, one in zip(fast, slow, strict=False)]
        bytes_added.append(with_line.measurement.memory.peak_bytes - without.measurement.memory.peak_bytes)
    memory = int(median(bytes_added)) if bytes_added else None
    if len(ratios) < 2:
        return None, memory
    value, low, high = median_interval(ratios)
    return Interval(value=value, low=low, high=high), memory


def carrier(study: Study, candidate: Candidate, knob: str) -> Candidate:
    """The candidate itself, or one with the same value of the knob whose run with and without it was paired."""
    own = study.space.base.settings[knob]
    paired = {t.candidate.key: t.candidate for t in study.completed(*PAIRED)}
    with_line = [c for c in paired.values() if c.settings[knob] == candidate.settings[knob]]
    both = [c for c in with_line if c.replace(**{knob: own}).key in paired]
    return candidate if candidate in both or not both else min(both, key=lambda c: len(without_each_line(c, candidate)))


def is_idle(study: Study, candidate: Candidate, twin: Candidate) -> bool:
    """Whether the line that the twin lacks was measured and does nothing for the objective that is worth a line."""
    worthwhile = study.probe.worthwhile
    if study.probe.objective is Objective.PEAK_MEMORY:
        saved = compare(study, candidate, twin)
        return saved is not None and saved.ratio.value < 1 + worthwhile
    effect, _ = line_effect(study, candidate, twin)
    return effect is not None and effect.value < 1 + worthwhile


def without_each_line(candidate: Candidate, base: Candidate) -> dict[str, Candidate]:
    """Knob -> the candidate with that knob at the user's own value, for each knob that differs."""
    return {
        knob: candidate.replace(**{knob: own}) for knob, own in base.settings.items() if candidate.settings[knob] != own
    }


def describe(candidate: Candidate, base: Candidate) -> str:
    """What a candidate changes of the user's own arguments, in one line."""
    changed = [f"{knob}={value}" for knob, value in candidate.settings.items() if base.settings.get(knob) != value]
    return ", ".join(changed) or "your own arguments"
