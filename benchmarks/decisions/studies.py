"""Simulated studies to what is said of them after each heat, and whether it was right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from benchmarks.decisions.machine import Array, Machine, correlated, in_turns, one_after_the_other
from perftune.decisions import Answer, Table
from perftune.heats import fit
from perftune.intervals import series_interval

WORTHWHILE = 0.02


@dataclass(frozen=True)
class Told:
    """How one study ended."""

    answer: Answer
    num_heats: int
    is_covered: bool | None
    """Whether the interval printed of the best contender holds the truth; None: one heat, so there is none."""


def tables(machine: Machine, num_studies: int, num_heats: int, gains: Array, seed: int) -> Sequence[Sequence[Table]]:
    """Studies × heats: each study as it is known after each heat. The last contender is the reference."""
    values = in_turns(machine, num_studies, num_heats, gains, np.random.default_rng(seed))
    keys = tuple(str(number) for number in range(len(gains)))
    fits = [fit(values[:, :count]) for count in range(1, num_heats + 1)]
    return [
        [Table(keys, values[n, : count + 1], fits[count].of_study(n)) for count in range(num_heats)]
        for n in range(num_studies)
    ]


def race(machine: Machine, num_studies: int, max_heats: int, gains: Array, seed: int) -> list[Told]:
    """Studies that stop after the first heat that decides, and after `max_heats` undecided."""
    return [_told(study, max_heats, gains) for study in tables(machine, num_studies, max_heats, gains, seed)]


def _told(study: Sequence[Table], max_heats: int, gains: Array) -> Told:
    num_heats, verdict = 0, None
    while verdict is None or (verdict.answer is Answer.NOT_DECIDED and num_heats < max_heats):
        verdict = study[num_heats].decide(study[num_heats].keys, study[0].keys[-1], WORTHWHILE, max_heats)
        num_heats += 1
    compared = verdict.comparison
    assert compared is not None
    truth = float(np.exp(gains[int(compared.first)] - gains[-1]))
    _, low, high = compared.ratio()
    return Told(verdict.answer, num_heats, low <= truth <= high if compared.degrees else None)


def coverage(machine: Machine, num_studies: int, num_heats: int, num_contenders: int, seed: int) -> float:
    """How often the interval of two contenders, chosen beforehand, holds the truth after a fixed number of heats."""
    gains = np.zeros(num_contenders)
    gains[0] = 0.1
    values = in_turns(machine, num_studies, num_heats, gains, np.random.default_rng(seed))
    keys = tuple(str(number) for number in range(num_contenders))
    fitted, hits = fit(values), 0
    for n in range(num_studies):
        compared = Table(keys, values[n], fitted.of_study(n)).compare(keys[0], keys[-1])
        assert compared is not None
        hits += compared.ratio().low <= np.exp(0.1) <= compared.ratio().high
    return hits / num_studies


def pairs_until_told(machine: Machine, num_studies: int, max_pairs: int, gain: float, seed: int) -> list[int | None]:
    """Runs one after the other, as it was before: pairs until the whole t-interval of the ratios lies above one."""
    logs = one_after_the_other(machine, num_studies, max_pairs, gain, np.random.default_rng(seed))
    counts = np.arange(2, max_pairs + 1)
    means = np.stack([logs[:, :count].mean(axis=1) for count in counts])
    errors = np.stack([logs[:, :count].std(axis=1, ddof=1) / np.sqrt(count) for count in counts])
    told = (means - stdtrit(counts - 1, 0.975)[:, None] * errors > 0) & (means >= np.log1p(WORTHWHILE))
    return [int(counts[row.argmax()]) if row.any() else None for row in told.T]


def series_coverage(correlation: float, length: int, num_series: int, looks: int, seed: int) -> tuple[float, float]:
    """How often the intervals of all looks at a growing series hold its mean; and a t-interval that looks once."""
    series = correlated(correlation, length, (num_series,), np.random.default_rng(seed))
    lengths = [length * (look + 1) // looks for look in range(looks)]
    hits = naive = 0
    for row in series:
        found = [series_interval(row[:count].tolist(), looks=looks) for count in lengths]
        hits += all(one.low <= 0 <= one.high for one in found)
        half = stdtrit(length - 1, 0.975) * row.std(ddof=1) / np.sqrt(length)
        naive += abs(row.mean()) <= half
    return hits / num_series, naive / num_series
