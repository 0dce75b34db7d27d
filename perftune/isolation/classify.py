"""Three facts (is there a whole result, what was the exit status, did the deadline pass) to how a trial ended. Pure."""

import os
import signal
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from pydantic import ValidationError

from perftune.isolation.protocol import DISK_FULL_STATUS
from perftune.records.trial import Failure, Measurement, Outcome, TrialResult

LOG_TAIL_CHARACTERS = 4000

MEMORY_TEXTS = ("std::bad_alloc", "MemoryError", "can't allocate memory", "Cannot allocate memory")
"""What a process says that ended for want of memory before it could write a result; the last resort, after status."""

DISK_TEXTS = ("No space left on device", "Disk quota exceeded")
"""What a process says that was ended by another error than its own while the disk was full."""


SPEAK_FIRST = {Outcome.OUT_OF_MEMORY, Outcome.GAVE_UP}
"""What ends one process for its own reason, and the others because they cannot reach it any more."""


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
        return Verdict(failures[0].kind, failure=failures[0])
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


def _without_result(facts: Facts, half_written: bool) -> Verdict:
    tail = facts.log_tail
    if facts.status == DISK_FULL_STATUS << 8 or any(text in tail for text in DISK_TEXTS):
        return _failed(Outcome.CRASHED, "the disk is full: the result could not be written", tail)
    if os.WIFSIGNALED(facts.status):
        return _ended_by_signal(os.WTERMSIG(facts.status), tail)
    if any(text in tail for text in MEMORY_TEXTS):
        return _failed(Outcome.OUT_OF_MEMORY, "the process ended for want of memory", tail)
    if half_written:
        return _failed(Outcome.CRASHED, "the process wrote half a result", tail)
    code = os.waitstatus_to_exitcode(facts.status)
    last = next((line for line in reversed(tail.splitlines()) if line.strip()), "")
    said = f"; its last words: {last.strip()[:300]}" if last and code else ""
    return _failed(Outcome.CRASHED, f"the process ended with status {code} and without a result{said}", tail)


def _ended_by_signal(number: int, tail: str) -> Verdict:
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number == signal.SIGKILL:
        message = "the process was killed (SIGKILL), most often by the kernel because the memory of the machine ran out"
        return _failed(Outcome.KILLED, message, tail)
    if number == signal.SIGABRT and any(text in tail for text in MEMORY_TEXTS):
        return _failed(Outcome.OUT_OF_MEMORY, "the process aborted for want of memory", tail)
    return _failed(Outcome.CRASHED, f"the process crashed with {name}", tail)
