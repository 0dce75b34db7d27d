"""Every row of the table from facts to outcome."""

import os
import signal

import pytest

from perftune.isolation.classify import Ending, Facts, classify
from perftune.isolation.protocol import DISK_FULL_STATUS
from perftune.records.trial import Failure, Outcome, TrialResult
from tests.isolation.fault_entries import measurement

WHOLE = TrialResult(measurement=measurement()).model_dump_json()


def told(kind: Outcome, message: str = "said by the child") -> str:
    return TrialResult(failure=Failure(kind=kind, message=message)).model_dump_json()


ROWS = [
    pytest.param(Facts([WHOLE], 0), Outcome.COMPLETED, None, id="whole result and status 0"),
    pytest.param(Facts([WHOLE, WHOLE], 0), Outcome.COMPLETED, None, id="two ranks"),
    *(
        pytest.param(Facts([told(kind)], 0), kind, "said by the child", id=f"the child tells {kind.value}")
        for kind in Outcome
        if kind is not Outcome.COMPLETED
    ),
    pytest.param(
        Facts([told(Outcome.CRASHED, "lost peer"), told(Outcome.OUT_OF_MEMORY, "needs more")], 0),
        Outcome.OUT_OF_MEMORY, "needs more", id="out of memory speaks for all ranks",
    ),
    pytest.param(Facts([WHOLE, told(Outcome.CRASHED, "rank 1")], 0), Outcome.CRASHED, "rank 1", id="worst rank wins"),
    pytest.param(Facts([WHOLE], signal.SIGSEGV), Outcome.CRASHED, "SIGSEGV", id="result, then a signal"),
    pytest.param(Facts([WHOLE], 1 << 8), Outcome.CRASHED, "status 1", id="result, then a failure"),
    pytest.param(Facts([], 0), Outcome.CRASHED, "status 0 and without a result", id="nothing at all"),
    pytest.param(Facts([WHOLE[:40]], 0), Outcome.CRASHED, "half a result", id="half a result"),
    pytest.param(Facts(["{}"], 0), Outcome.CRASHED, "half a result", id="neither measurement nor failure"),
    pytest.param(Facts([], 3 << 8, log_tail="a\nbye\n\n"), Outcome.CRASHED, "last words: bye", id="last words"),
    pytest.param(Facts([], signal.SIGKILL), Outcome.KILLED, "SIGKILL), most often by the kernel", id="killed"),
    pytest.param(
        Facts([], signal.SIGKILL, num_oom_kills=0), Outcome.KILLED, "SIGKILL) from outside", id="killed by somebody"
    ),
    pytest.param(
        Facts([], signal.SIGKILL, num_oom_kills=1), Outcome.OUT_OF_MEMORY, "the kernel killed", id="by the kernel"
    ),
    pytest.param(
        Facts([], signal.SIGTERM, num_oom_kills=1), Outcome.KILLED, "(SIGTERM) from outside", id="ended by somebody"
    ),
    pytest.param(
        Facts([told(Outcome.KILLED)], 0, num_oom_kills=0), Outcome.KILLED, "said by the child", id="a worker"
    ),
    pytest.param(
        Facts([told(Outcome.KILLED)], 0, num_oom_kills=2),
        Outcome.OUT_OF_MEMORY, "said by the child, by the kernel", id="a worker, by the kernel",
    ),
    pytest.param(
        Facts([told(Outcome.CRASHED)], 0, num_oom_kills=2), Outcome.CRASHED, "said by the child", id="another"
    ),
    pytest.param(
        Facts([], signal.SIGKILL, Ending.DEADLINE, "", 600.0, 1), Outcome.TIMED_OUT, "within 600 s", id="by perftune"
    ),
    pytest.param(Facts([], signal.SIGABRT), Outcome.CRASHED, "SIGABRT", id="aborted"),
    pytest.param(Facts([], 40), Outcome.CRASHED, "signal 40", id="a signal without a name"),
    pytest.param(
        Facts([], signal.SIGABRT, log_tail="what():  std::bad_alloc"),
        Outcome.OUT_OF_MEMORY, "want of memory", id="aborted by C++ for want of memory",
    ),
    pytest.param(Facts([], 1 << 8, log_tail="MemoryError"), Outcome.OUT_OF_MEMORY, "want of memory", id="MemoryError"),
    pytest.param(Facts([], DISK_FULL_STATUS << 8), Outcome.DISK_FULL, "disk is full", id="disk full, silent"),
    pytest.param(
        Facts([], signal.SIGBUS, log_tail="No space left on device"),
        Outcome.DISK_FULL, "disk is full", id="disk full, said",
    ),
    pytest.param(
        Facts([], signal.SIGKILL, Ending.DEADLINE, "", 600.0), Outcome.TIMED_OUT, "within 600 s", id="deadline"
    ),
    pytest.param(
        Facts([], signal.SIGKILL, Ending.STALL, "", 120.0), Outcome.TIMED_OUT, "for 120 s", id="stall"
    ),
    pytest.param(
        Facts([told(Outcome.OUT_OF_MEMORY)], signal.SIGKILL, Ending.DEADLINE, "", 600.0),
        Outcome.OUT_OF_MEMORY, "said by the child", id="failed and then hung",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "outcome", "said"), ROWS)
def test_outcome(facts: Facts, outcome: Outcome, said: str | None) -> None:
    verdict = classify(facts)
    assert verdict.outcome is outcome
    assert (verdict.measurement is not None) == (outcome is Outcome.COMPLETED)
    if said is None:
        assert verdict.failure is None
    else:
        assert verdict.failure is not None
        assert verdict.failure.kind is outcome
        assert said in verdict.failure.message
        assert "\n" not in verdict.failure.message


def test_every_status_has_an_outcome() -> None:
    statuses = [status for status in range(0x10000) if os.WIFSIGNALED(status) or os.WIFEXITED(status)]
    assert len(statuses) > 256
    for status in statuses:
        verdict = classify(Facts([], status))
        assert verdict.outcome in (Outcome.CRASHED, Outcome.KILLED, Outcome.DISK_FULL)
        assert verdict.failure is not None
