"""A winner to the same without the lines that do nothing: each is taken back, beside the winner and the user's own."""

from collections.abc import Sequence

from perftune.decisions import Answer, decide
from perftune.records.candidate import Candidate
from perftune.records.trial import Purpose
from perftune.tuning.comparisons import compare, is_idle, without_each_line
from perftune.tuning.heats import heats, process_spread
from perftune.tuning.loop import Loop
from perftune.tuning.racing import HEATS_TO_TELL, LEAST_HEATS, run_heat, seconds_before_checks


def simplify(loop: Loop, candidate: Candidate) -> Candidate:
    """The candidate without the lines that do nothing, if that is as good; each line is measured on the way."""
    base = loop.study.space.base
    twins = without_each_line(candidate, base)
    if len(twins) < 2:
        return candidate
    with loop.spending.phase("turns"):
        loop.observer.on_phase("explain", "each tuned line taken back in turn")
        _run_heats(loop, (candidate, *twins.values(), base), LEAST_HEATS)
        idle = {knob: base.settings[knob] for knob, twin in twins.items() if is_idle(loop.study, candidate, twin)}
        simpler = candidate.replace(**idle)
        if simpler in (candidate, base):
            return candidate
        loop.observer.on_phase("simplify", f"without {', '.join(idle)}")
        _run_heats(loop, (simpler, candidate, base), HEATS_TO_TELL)
    return simpler if _is_as_good(loop, simpler, candidate) else candidate


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
    base = study.space.base.key
    if not any(base in heat for heat in heats(study)):
        return True
    return (
        decide(heats(study), [simpler.key], base, worthwhile, process_spread=process_spread(study)).answer
        is Answer.TUNED
    )
