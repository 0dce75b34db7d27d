"""Contenders to who is better, in heats: side by side in turns, or one after the other where they do not fit so."""

from collections.abc import Sequence

from perftune.decisions import Answer, Verdict, decide, hopeless, is_over
from perftune.isolation.heat import TurnPlan
from perftune.records.candidate import Candidate
from perftune.records.heat import Round
from perftune.records.study import Study
from perftune.records.trial import Purpose
from perftune.search import contenders
from perftune.tuning.beside import fit_beside
from perftune.tuning.costs import WARMUP_STEPS, heat_seconds, slice_seconds
from perftune.tuning.heats import heats, process_spread
from perftune.tuning.loop import Loop
from perftune.tuning.loss_steps import SAME_MATH_STEPS, kept_seconds
from perftune.tuning.nothing import nothing_completed

RACE_SHARE = 0.7
"""Part of the time before the checks that the first three heats of the race are planned to take; lines come after."""
LEAST_HEATS, HEATS_TO_TELL, MOST_HEATS = 2, 3, 8
"""Heats before a race may end, for which it is planned, and after which it ends undecided."""
TRIALS_SHARE = {Purpose.RACE: 0.7, Purpose.ABLATION: 0.9}
"""Part of the budget of trials that is spent when heats for this reason have to end; the rest is for the checks."""
LEAST_ROUNDS, MOST_ROUNDS = 4, 10
FIRST_ROUNDS = SAME_MATH_STEPS - WARMUP_STEPS
"""The first heat has at least so many, so that it tells the loss as well where there is no time for more."""
MOST_CONTENDERS = 4
"""Beside the user's own: the more race, the less each is seen."""


def seconds_before_checks(loop: Loop) -> float:
    """What may still be spent on heats: without the first of them there is no answer whose loss would matter."""
    kept = kept_seconds(loop) if _num_heats(loop.study) >= LEAST_HEATS else 0.0
    return loop.spending.left_seconds() - loop.final_seconds() - kept


def field_of_race(loop: Loop) -> list[Candidate]:
    """The candidates that the search cannot tell from the best, best guess first, and the user's own last.

    Raises:
        NoCandidateError: nothing completed within the memory.
    """
    study = loop.study
    racers = contenders(study.space, study.trials, study.probe.objective, most=MOST_CONTENDERS)
    if not racers:
        raise nothing_completed(study)
    base = study.space.base
    others = [candidate for candidate in racers if candidate != base]
    own = [candidate for candidate in racers if candidate == base]
    while len(others) > 1 and not _has_room(loop, [*others, *own]):
        others.pop()
    return [*others, *own]


def _has_room(loop: Loop, field: Sequence[Candidate]) -> bool:
    """Whether there is the time for a race that ends as soon as it may, and trials for its first heat."""
    in_time = _least_seconds(loop, field) <= seconds_before_checks(loop)
    return in_time and loop.has_trials_left(len(field), TRIALS_SHARE[Purpose.RACE])


def _least_seconds(loop: Loop, field: Sequence[Candidate]) -> float:
    """What a race of these takes that ends as soon as it may: a first heat that tells the loss too, and another."""
    first, later = (heat_seconds(loop.study, field, rounds) for rounds in (FIRST_ROUNDS, LEAST_ROUNDS))
    return first + (LEAST_HEATS - 1) * later


def reference(study: Study, racers: Sequence[Candidate]) -> Candidate:
    """The user's own arguments; where they do not run here, the search's best guess."""
    base = study.space.base
    return base if base in racers else racers[0]


def race(loop: Loop) -> list[Candidate]:
    """Let the candidates that the search cannot tell apart run in heats; they are returned, best guess first."""
    racers = field_of_race(loop)
    if len(racers) > 1:
        loop.observer.on_phase("race", f"{len(racers)} contenders in turns")
        with loop.spending.phase("turns"):
            while (number := _num_heats(loop.study)) < MOST_HEATS:
                field = _field(loop.study, racers, number)
                wanted = RACE_SHARE / HEATS_TO_TELL * (seconds_before_checks(loop) + _turn_seconds(loop.study))
                if len(field) < 2 or not run_heat(loop, field, Purpose.RACE, wanted):
                    break
    return racers


def _num_heats(study: Study) -> int:
    """Of the race so far, also in an earlier run of the study."""
    return len({trial.heat for trial in study.trials if trial.purpose is Purpose.RACE})


def _turn_seconds(study: Study) -> float:
    """What all heats have taken."""
    return sum(trial.wall_seconds for trial in study.trials if trial.heat is not None)


def _field(study: Study, racers: Sequence[Candidate], number: int) -> list[Candidate]:
    """Who runs in the next heat; nobody where it is decided."""
    running = [c for c in racers if not any(t.measurement is None for t in study.of(c) if t.heat is not None)]
    if number < LEAST_HEATS or len(running) < 2:
        return running
    own = reference(study, running)
    keys, seen, worthwhile = [candidate.key for candidate in running], heats(study), study.probe.worthwhile
    spread = process_spread(study)
    said = decide(seen, keys, own.key, worthwhile, MOST_HEATS, spread)
    is_told = number >= HEATS_TO_TELL or is_over(seen, keys, worthwhile, spread)
    if said.answer is Answer.KEEP_YOURS or (said.answer is Answer.TUNED and is_told):
        return []
    lost = hopeless(seen, keys, own.key, spread)
    return [candidate for candidate in running if candidate.key not in lost]


def verdict(study: Study, racers: Sequence[Candidate]) -> Verdict | None:
    """What the heats say of contenders against the user's own; None where the two were in no heat together."""
    own, seen = reference(study, racers), heats(study)
    keys = [one.key for one in racers if one != own and any({one.key, own.key} <= heat.keys() for heat in seen)]
    worthwhile = study.probe.worthwhile
    return decide(seen, keys, own.key, worthwhile, MOST_HEATS, process_spread(study)) if keys else None


def run_heat(loop: Loop, field: Sequence[Candidate], purpose: Purpose, wanted_seconds: float) -> bool:
    """Run one heat of these candidates, if the time before the checks has room for it.

    Args:
        loop: what runs trials.
        field: two or more candidates.
        purpose: of their trials.
        wanted_seconds: what the heat should take, as far as that gives it enough rounds.

    Returns:
        Whether it was run.
    """
    most_seconds, begun = seconds_before_checks(loop), loop.spending.spent_seconds
    num_rounds = _num_rounds(loop, field, wanted_seconds, most_seconds)
    if not num_rounds or not loop.has_trials_left(len(field), TRIALS_SHARE[purpose]):
        return False
    if not fit_beside(loop.study, field):
        _one_after_the_other(loop, field, purpose)
        return True

    def goes_on(rounds: Sequence[Round]) -> list[int]:
        return list(rounds[-1]) if loop.spending.spent_seconds - begun < most_seconds else []

    is_proved = any(trial.heat is not None for trial in loop.study.of(field[0]))
    plan = TurnPlan(
        slice_seconds=slice_seconds(loop.study), max_rounds=num_rounds, warmup_steps=WARMUP_STEPS
    )  # fmt: skip
    loop.run_in_turns(field, purpose, plan, goes_on, worst_batch=not is_proved)
    return True


def _num_rounds(loop: Loop, field: Sequence[Candidate], wanted_seconds: float, most_seconds: float) -> int:
    """As many as fit into the wanted seconds, at least a few; 0 where not even one fits into what there is."""
    start, with_one = (heat_seconds(loop.study, field, rounds) for rounds in (0, 1))
    each = with_one - start
    is_first = not any(trial.heat is not None for trial in loop.study.trials)
    least = FIRST_ROUNDS if is_first else LEAST_ROUNDS
    number = min(MOST_ROUNDS, max(least, int((wanted_seconds - start) / each)))
    return max(0, min(number, int((most_seconds - start) / each)))


def _one_after_the_other(loop: Loop, field: Sequence[Candidate], purpose: Purpose) -> None:
    """A heat of one round, for contenders that do not fit beside each other; the order turns by one every heat."""
    heat = loop.next_number()
    turn = len({trial.heat for trial in loop.study.trials if trial.heat is not None}) % len(field)
    for candidate in (*field[turn:], *field[:turn]):
        loop.run(candidate, purpose, heat=heat)
