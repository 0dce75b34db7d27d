"""A study without an answer to the sentences that say why, and what to do about that reason."""

from collections import Counter
from collections.abc import Sequence

from perftune.errors import NoCandidateError
from perftune.records.recommendation import Rejection
from perftune.records.study import Study
from perftune.records.trial import Outcome

MOST_REASONS = 3
"""The commonest are told; all are in the study."""
MORE_MEMORY = "Raise target.memory, lower target.headroom, or allow smaller micro-batches"
MEND = "Mend that in the workload or in training_arguments, and probe again"


def nothing_completed(study: Study) -> NoCandidateError:
    """No trial completed within the memory."""
    reasons = _reasons(study)
    said = f": {'; '.join(reasons)}" if reasons else ""
    return NoCandidateError(
        f"no candidate completed within {study.probe.target.headroom:.0%} of headroom, so there is nothing to "
        f"recommend{said}. {_advice(study)}"
    )


def nothing_passed(study: Study, rejected: Sequence[Rejection]) -> NoCandidateError:
    """Others completed, but the user's own arguments never did, and none of the others passed the checks."""
    own = next((t.failure.message for t in study.of(study.space.base) if t.failure), "they were not run")
    others = "; ".join(f"{one.what}: {one.reason}" for one in rejected[:MOST_REASONS]) or "there was no time for them"
    notes = "".join(f" Note that {note}." for note in study.survey.notes)
    return NoCandidateError(
        f"your own arguments do not run here ({own}), and no other candidate passed the checks ({others}).{notes} "
        f"{_advice(study)}"
    )


def _reasons(study: Study) -> list[str]:
    told = Counter(trial.failure.message for trial in study.trials if trial.failure is not None)
    return [reason for reason, _ in told.most_common(MOST_REASONS)]


def _advice(study: Study) -> str:
    """More memory helps only where that was what was missing."""
    kinds = {trial.failure.kind for trial in study.trials if trial.failure is not None}
    is_full = Outcome.OUT_OF_MEMORY in kinds or not kinds
    return MORE_MEMORY if is_full else MEND
