"""A winner to the same without the lines that do nothing, or do not pay: each is taken back, beside the winner."""

from collections.abc import Mapping, Sequence

from perftune.decisions import Answer, decide
from perftune.records.candidate import COMPILE, Candidate
from perftune.records.recommendation import Rejection
from perftune.records.trial import Purpose
from perftune.tuning.comparisons import compare, describe, is_idle, without_each_line
from perftune.tuning.compiling import compiles, why_unpaid
from perftune.tuning.heats import heats, process_spread
from perftune.tuning.loop import Loop
from perftune.tuning.racing import HEATS_TO_TELL, LEAST_HEATS, run_heat, seconds_before_checks


def simplify(loop: Loop, candidate: Candidate) -> Candidate:
    """The candidate without the lines that do nothing, if that is as good; each line is measured on the way."""
    base = loop.study.space.base
    twins = without_each_line(candidate, base)
    if len(twins) > 1:
        with loop.spending.phase("turns"):
            loop.observer.on_phase("explain", "each tuned line taken back in turn")
            _run_heats(loop, (candidate, *twins.values(), base), LEAST_HEATS)
    paid = _paid(loop, candidate)
    if paid != candidate:
        return simplify(loop, paid)
    return _without_idle_lines(loop, candidate, twins) if len(twins) > 1 else candidate


def _without_idle_lines(loop: Loop, candidate: Candidate, twins: Mapping[str, Candidate]) -> Candidate:
    base = loop.study.space.base
    with loop.spending.phase("turns"):
        idle = {knob: base.settings[knob] for knob, twin in twins.items() if is_idle(loop.study, candidate, twin)}
        simpler = candidate.replace(**idle)
        if simpler in (candidate, base):
            return candidate
        loop.observer.on_phase("simplify", f"without {', '.join(idle)}")
        _run_heats(loop, (simpler, candidate, base), HEATS_TO_TELL)
    return simpler if _is_as_good(loop, simpler, candidate) else candidate


def _paid(loop: Loop, candidate: Candidate) -> Candidate:
    """The candidate, without compiling where the user's own run is too short for it, which is put down.

    What is left is the user's own where it is not known to be better than that.
    """
    base = loop.study.space.base
    if not compiles(candidate, base):
        return candidate
    without = candidate.replace(**{COMPILE: False})
    why = why_unpaid(loop.study, candidate, without)
    if why is None:
        return candidate
    loop.rejected.append(Rejection(what=describe(candidate, without), reason=why))
    return without if without == base or _is_better(loop, without) else base


def _is_better(loop: Loop, candidate: Candidate) -> bool:
    """Whether heats have shown it to be better than the user's own; that also holds where these do not run."""
    study, base = loop.study, loop.study.space.base.key
    if not any(base in heat for heat in heats(study)):
        return True
    said = decide(heats(study), [candidate.key], base, study.probe.worthwhile, process_spread=process_spread(study))
    return said.answer is Answer.TUNED


def _run_heats(loop: Loop, field: Sequence[Candidate], num_heats: int) -> None:
    """So many heats in which all of the field ran, as far as the time goes; what failed does not run again."""
    alive = [c for c in {one.key: one for one in field}.values() if _runs_here(loop, c)]
    keys = {candidate.key for candidate in alive}
    while len(alive) > 1 and sum(keys <= heat.keys() for heat in heats(loop.study)) < num_heats:
        if not run_heat(loop, alive, Purpose.ABLATION, seconds_before_checks(loop) / num_heats):
            return
        alive = [candidate for candidate in alive if _runs_here(loop, candidate)]
        keys = {candidate.key for candidate in alive}


def _runs_here(loop: Loop, candidate: Candidate) -> bool:
    """Whether none of its trials has failed."""
    return all(trial.failure is None for trial in loop.study.of(candidate))


def _is_as_good(loop: Loop, simpler: Candidate, candidate: Candidate) -> bool:
    study, worthwhile = loop.study, loop.study.probe.worthwhile
    beside = compare(study, simpler, candidate)
    if beside is None or beside.ratio.value <= 1 - worthwhile:
        return False
    return _is_better(loop, simpler)
