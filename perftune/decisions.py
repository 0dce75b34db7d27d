"""Heats of contenders become what is printed of two of them, and the answer: tuned, keep yours or not decided."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from perftune.heats import Array, Fit, Heat, arranged, fit, other_modes
from perftune.intervals import Belief, Interval, t_quantile

PROCESS_SPREAD = 0.02
"""Spread (log, 1 sd) that a process has as a whole, as far as known before it was measured: 1 to 3 % between runs of
one candidate."""
PEAK_SPREAD = 0.002
"""The same of the peak of memory, which repeats to a few tenths of a per cent."""
KNOWN_ROUNDS = 4
"""By so many rounds the noise of slices is taken to average out within a process, as neighbours are alike."""
PRIOR_DEGREES = 5.0
"""How many degrees of freedom that knowledge counts as: the spread may well be half or twice as much."""
EFFECT_SPREAD = 0.2
"""Spread (log) of contenders' gains before they are measured; small gains are common, twofold ones happen."""
FALSE_ALARMS = 0.025
"""Most chance that `TUNED` is said, over all looks and contenders, when all are equal."""
MISSED = 0.05
"""`KEEP_YOURS` is said when the chance that any contender gains more than is worthwhile is at most this."""
HEATS_TO_KEEP = 2
"""What is found in one heat may be the luck of a process, or of a burst that took most rounds: no reason to give up."""
HOPELESS = 0.01
"""A contender whose chance to be better than the best is below this need not run in the next heat."""
MOST_HEATS = 100
"""More heats than this are not foreseen."""


class Answer(str, Enum):
    """What the heats say of the user's own arguments."""

    TUNED = "tuned"
    KEEP_YOURS = "keep_yours"
    NOT_DECIDED = "not_decided"


@dataclass(frozen=True)
class Comparison:
    """The log ratio of two contenders' goodness, first over second: as measured, and as believed."""

    first: str
    second: str
    log_ratio: float
    standard_error: float
    """From residuals between heats; 0 without degrees of freedom."""
    degrees: int
    num_heats: int
    """In which both ran."""
    num_rounds: int
    """In which both ran."""
    among: int
    """Of how many the first was chosen, as the best of them."""
    belief: Belief
    """With what was known before of spreads and gains: for decisions, not for printed intervals."""

    def ratio(self, confidence: float = 0.95) -> Interval:
        """The ratio with a t-interval from nothing but what was measured; from 0 to infinity with a single heat.

        Rounds of one heat do not tell how much processes differ, so no honest interval can be had from them: what can
        be said then is the chance to be better (`chance_above`), which rests on what processes usually differ by.

        The best of many is the best in part by luck. Were all equal, each of k would be too high with the chance of
        the lower tail, which is therefore α / (k + 1); the upper one is the rest of α, as who is chosen for being high
        is seldom too low. So k α / (k + 1) is missed at most if all are equal, and α if one is far ahead.
        """
        low_tail = (1 - confidence) / (self.among + 1)
        low = self._quantile(low_tail)
        high = self._quantile(1 - low_tail * self.among)
        return Interval(math.exp(self.log_ratio), math.exp(low), math.exp(high))

    def _quantile(self, chance: float) -> float:
        return t_quantile(self.log_ratio, self.standard_error, self.degrees, chance)

    def chance_above(self, log_threshold: float = 0.0) -> float:
        """The probability that the log ratio is greater than a threshold."""
        return self.belief.chance_above(log_threshold)

    def expected_loss(self) -> float:
        """The mean shortfall (log, about the relative one) if the first is chosen, where it is really worse."""
        return self.belief.expected_loss()


@dataclass(frozen=True)
class Verdict:
    """One of three answers, with the best contender so far."""

    answer: Answer
    best: str | None
    """The contender, other than the reference, that is expected to be the best; None: none met the reference."""
    comparison: Comparison | None
    """Of the best with the reference."""
    chance: float
    """That the best is better than the reference."""
    rule: "_Rule | None" = None
    pairs: tuple[Comparison, ...] = ()
    """Of all that met the reference, with it."""

    @property
    def more_heats(self) -> int | None:
        """How many more heats it would take to decide, should the estimates stay; None: more than are foreseen."""
        if self.answer is not Answer.NOT_DECIDED:
            return 0
        if self.comparison is None or self.rule is None:
            return None
        for more in range(1, MOST_HEATS + 1):
            later = [_foreseen(pair, more) for pair in self.pairs]
            if self.rule.answer(_foreseen(self.comparison, more), later) is not Answer.NOT_DECIDED:
                return more
        return None


def compare(
    heats: Sequence[Heat], first: str, second: str, among: int = 1, process_spread: float = PROCESS_SPREAD
) -> Comparison | None:
    """How many times better the first is than the second; None where they never met, nor met the same others.

    Args:
        heats: all of the study.
        first: key of one contender.
        second: key of the other.
        among: of how many contenders the first is printed because it was the best; 1: it was not chosen by these heats.
        process_spread: what is known of how much processes differ (log, 1 sd); `PEAK_SPREAD` for bytes.
    """
    return Table.of(heats, process_spread).compare(first, second, among)


def decide(
    heats: Sequence[Heat],
    contenders: Sequence[str],
    reference: str,
    worthwhile: float,
    max_heats: int = 8,
    process_spread: float = PROCESS_SPREAD,
) -> Verdict:
    """The answer after these heats; it may be asked for after every heat, up to `max_heats` times.

    Tuned: the best is better than the reference but for a chance that is its share of `FALSE_ALARMS`, and gains at
    least `worthwhile`. Keep yours: that any gains more than `worthwhile` has at most the chance `MISSED`.

    Args:
        heats: all of the study.
        contenders: keys of those that could be recommended; the reference among them counts for nothing.
        reference: the key of the user's own.
        worthwhile: smallest relative gain that matters.
        max_heats: how many heats there may be: the fewer, the less has to be kept for later looks.
        process_spread: as for `compare`.
    """
    return Table.of(heats, process_spread).decide(contenders, reference, worthwhile, max_heats)


def is_over(
    heats: Sequence[Heat], contenders: Sequence[str], worthwhile: float, process_spread: float = PROCESS_SPREAD
) -> bool:
    """Whether the race is over: no other contender can be better than the best by more than `worthwhile`."""
    table = Table.of(heats, process_spread)
    best = table.leader(contenders)
    if best is None:
        return False
    rivals = [table.compare(key, best) for key in contenders if key != best]
    return _chance_of_any(rivals, math.log1p(worthwhile)) <= MISSED


def hopeless(
    heats: Sequence[Heat],
    contenders: Sequence[str],
    reference: str | None = None,
    process_spread: float = PROCESS_SPREAD,
) -> tuple[str, ...]:
    """Contenders so surely worse than the best that they need not run in the next heat; never the reference."""
    table = Table.of(heats, process_spread)
    best = table.leader(contenders)
    if best is None:
        return ()
    pairs = [table.compare(key, best) for key in contenders if key not in {best, reference}]
    return tuple(pair.first for pair in pairs if pair is not None and pair.chance_above(0.0) < HOPELESS)


@dataclass(frozen=True)
class Table:
    """All heats of a study, fitted once, to be asked for any two contenders and for the answer."""

    keys: tuple[str, ...]
    blocks: Array
    """Blocks × contenders × rounds, as from `arranged`."""
    fit: Fit | None
    """None when no two contenders ever ran in the same round."""
    process_spread: float = PROCESS_SPREAD

    @classmethod
    def of(cls, heats: Sequence[Heat], process_spread: float = PROCESS_SPREAD) -> "Table":
        """From the values of all heats."""
        keys, blocks = arranged(heats)
        return cls(keys, blocks, fit(blocks) if len(blocks) else None, process_spread)

    def compare(self, first: str, second: str, among: int = 1) -> Comparison | None:
        """As `compare`."""
        if self.fit is None or first not in self.keys or second not in self.keys:
            return None
        i, j = self.keys.index(first), self.keys.index(second)
        if not self.fit.connected[i, j]:
            return None
        covariance = self.fit.covariance
        factor = float(covariance[i, i] + covariance[j, j] - 2 * covariance[i, j])
        log_ratio = float(self.fit.worth[i] - self.fit.worth[j])
        differences = self.blocks[:, i] - self.blocks[:, j]
        together = np.isfinite(differences)
        return Comparison(
            first=first,
            second=second,
            log_ratio=log_ratio,
            standard_error=math.sqrt(float(self.fit.variance) * factor),
            degrees=int(self.fit.degrees),
            num_heats=int(together.any(axis=-1).sum()),
            num_rounds=int(together.sum()),
            among=among,
            belief=self._belief(log_ratio, factor, differences[together]),
        )

    def decide(self, contenders: Sequence[str], reference: str, worthwhile: float, max_heats: int) -> Verdict:
        """As `decide`."""
        challengers = [key for key in dict.fromkeys(contenders) if key != reference]
        pairs = [self.compare(key, reference, len(challengers)) for key in challengers]
        met = [pair for pair in pairs if pair is not None]
        if not met:
            return Verdict(Answer.NOT_DECIDED, None, None, 0.0)
        best = max(met, key=lambda pair: pair.belief.location)
        rule = _Rule(FALSE_ALARMS / len(challengers) / max_heats ** (2 / 3), math.log1p(worthwhile))
        return Verdict(rule.answer(best, pairs), best.first, best, best.chance_above(0.0), rule, tuple(met))

    def _belief(self, log_ratio: float, factor: float, differences: Array) -> Belief:
        """The measured variance pooled with what was known of it; then the gain drawn to 0 by the spread of gains."""
        assert self.fit is not None
        spread, measured_degrees = float(self.fit.spread), int(self.fit.degrees)
        known = self.process_spread**2 + spread**2 / (2 * KNOWN_ROUNDS)
        degrees = PRIOR_DEGREES + measured_degrees
        variance = (PRIOR_DEGREES * known + measured_degrees * float(self.fit.variance)) / degrees * factor
        variance += other_modes(differences, log_ratio, spread)
        kept = EFFECT_SPREAD**2 / (EFFECT_SPREAD**2 + variance)
        return Belief(kept * log_ratio, math.sqrt(kept * variance), degrees)

    def leader(self, contenders: Sequence[str]) -> str | None:
        """The contender with the highest worth; None: none ran beside another."""
        if self.fit is None:
            return None
        worth = {key: float(value) for key, value in zip(self.keys, self.fit.worth, strict=True) if key in contenders}
        return max(worth, key=lambda key: worth[key], default=None)


@dataclass(frozen=True)
class _Rule:
    """When an answer is given."""

    alarm: float
    """Most chance that the best is not better than the reference."""
    threshold: float
    """Smallest log ratio that matters."""

    def answer(self, best: Comparison, pairs: Sequence[Comparison | None]) -> Answer:
        if best.chance_above(0.0) >= 1 - self.alarm and best.log_ratio >= self.threshold:
            return Answer.TUNED
        if best.num_heats >= HEATS_TO_KEEP and _chance_of_any(pairs, self.threshold) <= MISSED:
            return Answer.KEEP_YOURS
        return Answer.NOT_DECIDED


def _chance_of_any(pairs: Sequence[Comparison | None], threshold: float) -> float:
    """At most the chance that any ratio lies above the threshold; 1 for what never met."""
    return sum(1.0 if pair is None else pair.chance_above(threshold) for pair in pairs)


def _foreseen(pair: Comparison, more: int) -> Comparison:
    """The comparison after so many more heats, should the estimate stay and its scale shrink with the root of heats."""
    num_heats = max(pair.num_heats, 1)
    scale = pair.belief.scale * math.sqrt(num_heats / (num_heats + more))
    return replace(pair, num_heats=num_heats + more, belief=Belief(pair.log_ratio, scale, pair.belief.degrees + more))
