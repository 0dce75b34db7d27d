"""Three facts (is there a whole result, what was the exit status, did the deadline pass) to how a trial ended. Pure."""

import os
import signal
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from pydantic import ValidationError

from perftune.disk import DISK_TEXTS
from perftune.isolation.protocol import DISK_FULL_STATUS
from perftune.records.trial import Failure, Measurement, Outcome, TrialResult

LOG_TAIL_CHARACTERS = 4000

MEMORY_TEXTS = ("std::bad_alloc", "MemoryError", "can't allocate memory", "Cannot allocate memory")
"""What a process says that ended for want of memory before it could write a result; the last resort, after status."""


SPEAK_FIRST = {Outcome.OUT_OF_MEMORY, Outcome.GAVE_UP, Outcome.KILLED, Outcome.DISK_FULL}
"""What ends one process for its own reason, and the others because they cannot reach it any more."""


FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM)
"""What somebody else sends: a person, a scheduler, or a program that watches the memory of the machine."""
BY_WHOM = {
    True: ", most often by the kernel because the memory of the machine ran out",
    False: " from outside, not by perftune and not by the kernel, which counts whom it kills for want of memory",
}
"""By whether it is unknown if the kernel did."""


class Ending(Enum):
    """Who ended the trial."""

    ITSELF = "itself"
    DEADLINE = "deadline"
    STALL = "stall"


class Facts(NamedTuple):
    """All that is known of an ended trial."""

    results: Sequence[str]
    """Texts of the result files there are, rank 0 first."""
    status: int
    """As from ``os.wait``."""
    ending: Ending = Ending.ITSELF
    log_tail: str = ""
    limit_seconds: float = 0.0
    num_oom_kills: int | None = None
    """How many processes the kernel killed meanwhile because memory ran out; None where it does not count them."""
    num_kills: int = 0
    """How often the task was begun before, and killed from outside."""


class Verdict(NamedTuple):
    """The outcome with what goes with it."""

    outcome: Outcome
    measurement: Measurement | None = None
    failure: Failure | None = None


def _failed(kind: Outcome, message: str, log_tail: str = "") -> Verdict:
    return Verdict(kind, failure=Failure(kind=kind, message=message, traceback=log_tail or None))


def _parse(text: str) -> TrialResult | None:
    try:
        return TrialResult.model_validate_json(text)
    except ValidationError:
        return None


def classify(facts: Facts) -> Verdict:
    """The outcome of a trial. Of several processes, one with a cause of its own speaks for those that lost it."""
    results = [_parse(text) for text in facts.results]
    failures = [result.failure for result in results if result is not None and result.failure is not None]
    failures.sort(key=lambda failure: failure.kind not in SPEAK_FIRST)
    if failures:
        return _told(failures[0], facts.num_oom_kills)
    if facts.ending is Ending.DEADLINE:
        return _failed(
            Outcome.TIMED_OUT, f"no result within {facts.limit_seconds:.0f} s; the process was killed", facts.log_tail
        )
    if facts.ending is Ending.STALL:
        return _failed(
            Outcome.TIMED_OUT, f"no progress for {facts.limit_seconds:.0f} s; the process was killed", facts.log_tail
        )
    if results and results[0] is not None and results[0].measurement is not None and facts.status == 0:
        return Verdict(Outcome.COMPLETED, measurement=results[0].measurement)
    return _without_result(facts, half_written=bool(results) and results[0] is None)


def was_killed(facts: Facts) -> bool:
    """Whether somebody else ended it, or a process that it needs, for no reason that is known to lie in it."""
    return classify(facts).outcome is Outcome.KILLED


def _told(failure: Failure, num_oom_kills: int | None) -> Verdict:
    """What the child tells. Why a process of its own was killed, such as a data loader worker, is known outside."""
    if failure.kind is Outcome.KILLED and num_oom_kills:
        message = f"{failure.message}, by the kernel, because the memory of the machine or of its container ran out"
        failure = failure.model_copy(update={"kind": Outcome.OUT_OF_MEMORY, "message": message})
    return Verdict(failure.kind, failure=failure)


def _without_result(facts: Facts, half_written: bool) -> Verdict:
    tail = facts.log_tail
    if facts.status == DISK_FULL_STATUS << 8 or any(text in tail for text in DISK_TEXTS):
        return _failed(Outcome.DISK_FULL, "the disk is full: the result could not be written", tail)
    if os.WIFSIGNALED(facts.status):
        return _ended_by_signal(os.WTERMSIG(facts.status), tail, facts.num_oom_kills)
    if any(text in tail for text in MEMORY_TEXTS):
        return _failed(Outcome.OUT_OF_MEMORY, "the process ended for want of memory", tail)
    if half_written:
        return _failed(Outcome.CRASHED, "the process wrote half a result", tail)
    code = os.waitstatus_to_exitcode(facts.status)
    last = next((line for line in reversed(tail.splitlines()) if line.strip()), "")
    said = f"; its last words: {last.strip()[:300]}" if last and code else ""
    return _failed(Outcome.CRASHED, f"the process ended with status {code} and without a result{said}", tail)


def _ended_by_signal(number: int, tail: str, num_oom_kills: int | None) -> Verdict:
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number == signal.SIGKILL and num_oom_kills:
        message = "the kernel killed the process because the memory of the machine or of its container ran out"
        return _failed(Outcome.OUT_OF_MEMORY, message, tail)
    if number in FROM_OUTSIDE:
        return _failed(Outcome.KILLED, f"the process was killed ({name}){BY_WHOM[num_oom_kills is None]}", tail)
    if number == signal.SIGABRT and any(text in tail for text in MEMORY_TEXTS):
        return _failed(Outcome.OUT_OF_MEMORY, "the process aborted for want of memory", tail)
    return _failed(Outcome.CRASHED, f"the process crashed with {name}", tail)
