"""Contenders, best first, to the one that may be recommended: its loss follows, and a fresh run has room for all."""

from collections.abc import Sequence
from dataclasses import dataclass

from perftune.errors import NoRoomError
from perftune.records.candidate import Candidate
from perftune.records.gradients import GradientSketch
from perftune.records.recommendation import LossCheck, Rejection
from perftune.records.trial import Outcome, Purpose, Trial
from perftune.search.gradients import compare_gradients, is_hidden_by_chance
from perftune.search.loss import allow_for_noise, compare_losses, is_undecided, with_gradients
from perftune.search.strategy import fits
from perftune.tuning.comparisons import TRAINING, common_steps, describe, longest_pair, runs
from perftune.tuning.lines import simplify
from perftune.tuning.loop import Loop, NoRoom
from perftune.tuning.loss_steps import SAME_MATH_STEPS, loss_seconds, loss_steps
from perftune.units import format_bytes

MORE_LOSS_STEPS = 60
"""So many steps are looked at where the first look leaves the loss open."""
FEWEST_LOSS_STEPS = 6
"""Fewer steps of a heat tell nothing: half of them are compared, and neighbours are alike."""
MAX_VERIFIED = 3
"""Contenders that are verified, one after the other, before the user's own arguments are kept."""


@dataclass(frozen=True)
class Verified:
    """A candidate that passed, with what it passed."""

    candidate: Candidate
    loss_check: LossCheck | None
    final: Trial | None
    """None where there was no time, or no room on the disk; only the user's own arguments are excused for that."""


def verify(loop: Loop, ranking: Sequence[Candidate]) -> Verified | None:
    """The first of the ranking that passes, without the lines that do nothing.

    The loss is compared first, then comes a final trial with everything in its memory.
    """
    seen: list[Candidate] = []
    base = loop.study.space.base
    for one in ranking[:MAX_VERIFIED]:
        candidate = simplify(loop, one)
        if candidate in seen or (candidate == base and one != base):
            continue  # another contender without its idle lines, or nothing is left of it; the user's own come last
        seen.append(candidate)
        loop.observer.on_phase("verify", "loss against the reference, then a fresh run with evaluation and checkpoint")
        with loop.spending.phase("checks"):
            check = None
            if candidate != base:
                check = _check_loss(loop, candidate)
                if check is None or not check.passed:
                    continue
            elif loop.spending.left_seconds() < loop.final_seconds():
                return Verified(candidate, None, None)  # they run as the user knows them, and the time is over
            try:
                final = _once(loop, candidate, Purpose.FINAL)
            except NoRoomError as error:
                return _without_checkpoint(loop, candidate, check, error)
            over = [final] if final.measurement is None else _over_headroom(loop, candidate)
        if not over:
            return Verified(candidate, check, final)
        _reject(loop, candidate, _why_not(over[-1]), over[-1].number)
    return None


def _without_checkpoint(
    loop: Loop, candidate: Candidate, check: LossCheck | None, error: NoRoomError
) -> Verified | None:
    """The disk had no room for a checkpoint. That decides nothing, unless nothing is left to be decided."""
    base = loop.study.space.base
    if error.needed_bytes is None or not runs(loop.study, base, *TRAINING):
        raise error
    if candidate == base:
        loop.note(
            f"there was no room on the disk for a checkpoint, which takes about {format_bytes(error.needed_bytes)}: "
            "its memory is not in the figures, and your own training would end there"
        )
        return Verified(candidate, check, None)
    loop.no_room = NoRoom(candidate, error.needed_bytes)
    return None


def _over_headroom(loop: Loop, candidate: Candidate) -> list[Trial]:
    """Runs of a candidate that needed more than the headroom leaves: peaks of equal runs differ too."""
    return [
        t for t in runs(loop.study, candidate, *TRAINING, Purpose.FINAL) if not fits(loop.study.space, t)
    ]  # fmt: skip


def _reject(loop: Loop, candidate: Candidate, reason: str, trial: int | None) -> None:
    what = describe(candidate, loop.study.space.base)
    loop.rejected.append(Rejection(what=what, reason=reason, trial=trial))


def _once(loop: Loop, candidate: Candidate, purpose: Purpose, exact_steps: int | None = None) -> Trial:
    """A trial of this purpose, from the study if it was run already."""
    known = [
        trial
        for trial in loop.study.of(candidate)
        if trial.purpose is purpose
        and (exact_steps is None or trial.measurement is None or len(trial.measurement.steps) >= exact_steps)
    ]
    return known[-1] if known else loop.run(candidate, purpose, exact_steps=exact_steps)


def _check_loss(loop: Loop, candidate: Candidate) -> LossCheck | None:
    """Over what the heats have seen first; where that leaves it open, without dropout, and else over more steps."""
    first = loss_steps(candidate, _loss_reference(loop, candidate))
    check = _looked_at(loop, candidate, first)
    if check is not None and is_undecided(check) and _has_time(loop, loss_seconds(loop, MORE_LOSS_STEPS)):
        check = _looked_at(loop, candidate, MORE_LOSS_STEPS)
    if check is None:
        return None
    check = allow_for_noise(check)
    if is_undecided(check):
        loop.untold.append(candidate)
    if not check.passed:
        _reject(loop, candidate, _why_not_loss(check), check.trials[0])
    return check


def _looked_at(loop: Loop, candidate: Candidate, num_steps: int) -> LossCheck | None:
    """The loss over so many steps; None where it could not be had."""
    trial, reference = _loss_trials(loop, candidate, num_steps)
    if trial.measurement is None or reference.measurement is None:
        failed = trial if trial.measurement is None else reference
        said = failed.failure.message if failed.failure else failed.outcome.value
        _reject(loop, candidate, f"its loss could not be compared: {said}", failed.number)
        return None
    check = compare_losses(trial, reference, loop.study.probe.loss_tolerance)
    if is_hidden_by_chance(_first_gradient(trial), _first_gradient(reference)):
        return _without_chance(loop, candidate, check)
    return check


def _has_time(loop: Loop, seconds: float) -> bool:
    """Whether so much can be spent and the final trial still run."""
    return loop.spending.left_seconds() > loop.final_seconds() + seconds


def _first_gradient(trial: Trial | None) -> GradientSketch | None:
    return trial.measurement.first_gradient if trial is not None and trial.measurement is not None else None


def _without_chance(loop: Loop, candidate: Candidate, check: LossCheck) -> LossCheck:
    """Dropout draws other masks in other micro-batches: both are looked at once more without, if there is time.

    Where the loss follows already, one step does, for its gradient; else some steps may tell what the masks hid.
    """
    num_steps = 1 if check.passed else SAME_MATH_STEPS
    if not _has_time(loop, loss_seconds(loop, num_steps)) or not loop.has_trials_left(3):
        return check
    both = (candidate, _loss_reference(loop, candidate))
    pair = [_once(loop, one, Purpose.WITHOUT_DROPOUT, num_steps) for one in both]
    exact = compare_gradients(*map(_first_gradient, pair))
    if exact is None:
        return check
    if check.passed or not exact.is_exact:
        return with_gradients(check, exact)
    told = compare_losses(pair[0], pair[1], loop.study.probe.loss_tolerance)
    if is_undecided(told):  # optimizers that divide by the size of the gradient make much of its rounding
        return with_gradients(check, exact)
    return told.model_copy(update={"message": f"{told.message}, with dropout left out of both"})


def _loss_trials(loop: Loop, candidate: Candidate, num_steps: int) -> tuple[Trial, Trial]:
    """Two trials on the same data from the first step on: the longest of a heat, if long enough; else of their own.

    Where there is no time for so many steps they are fewer, and where there is none at all the heat has to do.
    """
    own = _loss_reference(loop, candidate)
    longest = longest_pair(loop.study, candidate, own)
    if not _has_time(loop, loss_seconds(loop, num_steps)):
        num_steps = min(num_steps, SAME_MATH_STEPS)
    has_time = _has_time(loop, loss_seconds(loop, num_steps))
    if longest is not None and common_steps(*longest) >= (num_steps if has_time else FEWEST_LOSS_STEPS):
        return longest
    return _once(loop, candidate, Purpose.LOSS, num_steps), _once(loop, own, Purpose.LOSS, num_steps)


def _loss_reference(loop: Loop, candidate: Candidate) -> Candidate:
    """The user's own arguments; if they do not run here, the candidate in the user's precision and optimizer."""
    base = loop.study.space.base
    if any(trial.outcome is Outcome.COMPLETED for trial in loop.study.of(base)):
        return base
    same = {knob: base.settings[knob] for knob in ("precision", "optim") if knob in base.settings}
    return candidate.replace(**same)


def _why_not(trial: Trial) -> str:
    run = "the final run, with evaluation and checkpoint," if trial.purpose is Purpose.FINAL else "one of its runs"
    if trial.failure is not None:
        return f"{run} {trial.outcome.value}: {trial.failure.message}"
    return f"{run} needs more memory than the headroom leaves"


def _why_not_loss(check: LossCheck) -> str:
    if check.scale is None:
        return check.message
    return (
        f"{check.message}. The model averages its loss over the micro-batch and the Trainer does not correct for "
        "accumulation, or it compares samples with the others of their micro-batch; then another micro-batch changes "
        "what is learned (see Trainer.model_accepts_loss_kwargs)"
    )
