"""Heats of contenders become what is printed of two of them, and the answer: tuned, keep yours or not decided."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from perftune.heats import Heat, Standing, standing
from perftune.intervals import Belief, Interval, t_interval

PROCESS_SPREAD = 0.02
"""Spread (log, 1 sd) that a process has as a whole, as far as known before it was measured: 1 to 3 % between runs of
one candidate."""
PRIOR_DEGREES = 3.0
"""How many degrees of freedom that knowledge counts as: the spread may well be half or twice as much."""
EFFECT_SPREAD = 0.2
"""Spread (log) of contenders' gains before they are measured; small gains are common, twofold ones happen."""
FALSE_ALARMS = 0.025
"""Most chance that `TUNED` is said, over all looks and contenders, when all are equal."""
MISSED = 0.05
"""`KEEP_YOURS` is said when the chance that any contender gains more than is worthwhile is at most this."""
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
    belief: Belief
    """With what was known before of spreads and gains: for decisions, not for printed intervals."""

    def ratio(self, confidence: float = 0.95) -> Interval:
        """The ratio with a t-interval from nothing but what was measured; from 0 to infinity with a single heat.

        Rounds of one heat do not tell how much processes differ, so no honest interval can be had from them: what can
        be said then is the chance to be better (`chance_above`), which rests on what processes usually differ by.
        """
        value, low, high = t_interval(self.log_ratio, self.standard_error, self.degrees, confidence)
        return Interval(math.exp(value), math.exp(low), math.exp(high) if high < math.inf else math.inf)

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
    more_heats: int | None
    """If not decided: how many more heats it would take, should the estimate stay; None: more than are foreseen."""


def compare(heats: Sequence[Heat], first: str, second: str) -> Comparison | None:
    """How many times better the first is than the second; None where they never met, nor met the same others."""
    found = standing(heats)
    return None if found is None else _comparison(found, heats, first, second)


def decide(
    heats: Sequence[Heat], contenders: Sequence[str], reference: str, worthwhile: float, max_heats: int = 8
) -> Verdict:
    """The answer after these heats; it may be asked for after every heat, up to `max_heats` times.

    Tuned: the best is better than the reference but for a chance that is its share of `FALSE_ALARMS`, and gains at
    least `worthwhile`. Keep yours: that any gains more than `worthwhile` has at most the chance `MISSED`.

    Args:
        heats: all of the study.
        contenders: keys of those that could be recommended; the reference among them counts for nothing.
        reference: the key of the user's own.
        worthwhile: smallest relative gain that matters.
        max_heats: how many heats there may be.
    """
    found = standing(heats)
    challengers = [key for key in dict.fromkeys(contenders) if key != reference]
    pairs = [_comparison(found, heats, key, reference) for key in challengers] if found else []
    met = [pair for pair in pairs if pair is not None]
    if not met:
        return Verdict(Answer.NOT_DECIDED, None, None, 0.0, None)
    best = max(met, key=lambda pair: pair.belief.location)
    alarm = FALSE_ALARMS / len(challengers) / math.sqrt(max_heats)
    threshold = math.log1p(worthwhile)
    answer = _answer(best, met, len(met) == len(challengers), alarm, threshold)
    more = _more_heats(met, best, alarm, threshold) if answer is Answer.NOT_DECIDED else None
    return Verdict(answer, best.first, best, best.chance_above(0.0), more)


def is_over(heats: Sequence[Heat], contenders: Sequence[str], worthwhile: float) -> bool:
    """Whether the race is over: no other contender can be better than the best by more than `worthwhile`."""
    found = standing(heats)
    if found is None:
        return False
    best = _leader(found, contenders)
    rivals = [_comparison(found, heats, key, best) for key in contenders if key != best]
    return all(rival is not None for rival in rivals) and (
        sum(rival.chance_above(math.log1p(worthwhile)) for rival in rivals if rival) <= MISSED
    )


def hopeless(heats: Sequence[Heat], contenders: Sequence[str], reference: str | None = None) -> tuple[str, ...]:
    """Contenders so surely worse than the best that they need not run in the next heat; never the reference."""
    found = standing(heats)
    if found is None:
        return ()
    best = _leader(found, contenders)
    pairs = [_comparison(found, heats, key, best) for key in contenders if key not in {best, reference}]
    return tuple(pair.first for pair in pairs if pair is not None and pair.chance_above(0.0) < HOPELESS)


def _leader(found: Standing, contenders: Sequence[str]) -> str:
    return max((key for key in contenders if key in found.keys), key=lambda key: found.worth[found.keys.index(key)])


def _answer(best: Comparison, met: Sequence[Comparison], all_met: bool, alarm: float, threshold: float) -> Answer:
    if best.chance_above(0.0) >= 1 - alarm and best.log_ratio >= threshold:
        return Answer.TUNED
    if all_met and sum(pair.chance_above(threshold) for pair in met) <= MISSED:
        return Answer.KEEP_YOURS
    return Answer.NOT_DECIDED


def _more_heats(met: Sequence[Comparison], best: Comparison, alarm: float, threshold: float) -> int | None:
    """How many more heats, should estimates stay and their scale shrink with the root of the number of heats."""
    for more in range(1, MOST_HEATS + 1):
        later = [_foreseen(pair, more) for pair in met]
        leader = next(pair for pair in later if pair.first == best.first)
        if _answer(leader, later, True, alarm, threshold) is not Answer.NOT_DECIDED:
            return more
    return None


def _foreseen(pair: Comparison, more: int) -> Comparison:
    share = max(pair.num_heats, 1) / (max(pair.num_heats, 1) + more)
    belief = Belief(pair.log_ratio, pair.belief.scale * math.sqrt(share), pair.belief.degrees + more)
    return Comparison(**{**vars(pair), "belief": belief})


def _comparison(found: Standing, heats: Sequence[Heat], first: str, second: str) -> Comparison | None:
    difference = found.difference(first, second)
    if difference is None:
        return None
    log_ratio, factor = difference
    both = [
        sum(a is not None and b is not None for a, b in zip(heat.get(first, ()), heat.get(second, ()), strict=False))
        for heat in heats
    ]
    return Comparison(
        first=first,
        second=second,
        log_ratio=log_ratio,
        standard_error=math.sqrt(found.variance * factor),
        degrees=found.degrees,
        num_heats=sum(number > 0 for number in both),
        num_rounds=sum(both),
        belief=_belief(found, log_ratio, factor),
    )


def _belief(found: Standing, log_ratio: float, factor: float) -> Belief:
    """The measured variance pooled with what was known of it, then the gain drawn towards 0 by the spread of gains."""
    known = PROCESS_SPREAD**2 + found.slice_variance / 4
    degrees = PRIOR_DEGREES + found.degrees
    variance = (PRIOR_DEGREES * known + found.degrees * found.variance) / degrees * factor
    kept = EFFECT_SPREAD**2 / (EFFECT_SPREAD**2 + variance)
    return Belief(kept * log_ratio, math.sqrt(kept * variance), degrees)
