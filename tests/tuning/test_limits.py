"""What each process may take of the memory: its share where it has not the memory for itself, and that is said."""

from pathlib import Path

import pytest

from perftune.devices import host
from perftune.errors import DeviceError
from perftune.records.device import Device
from perftune.records.probe import Target
from perftune.records.survey import Survey
from perftune.tuning.limits import left_out_of_shell, shared_memory, with_memory
from perftune.units import GIB
from tests.tuning.scripted import ScriptedRunner, probe, run, survey

GPU = Device(kind="cuda", name="A GPU", memory_bytes=16 * GIB, count=2)


@pytest.fixture(autouse=True)
def available(monkeypatch: pytest.MonkeyPatch) -> None:
    """6 GiB of the 16 that the scripted CPU has."""
    monkeypatch.setattr(host, "available_memory_bytes", lambda: 6 * GIB)


def limit(seen: Survey, **target: object) -> int | None:
    return with_memory(probe(target=Target.model_validate(target)), seen).target.memory_bytes


@pytest.mark.parametrize(
    ("count", "memory", "expected"), [(1, None, 6 * GIB), (2, None, 3 * GIB), (3, None, 2 * GIB), (2, 8 * GIB, 8 * GIB)]
)
def test_processes_share_the_memory_of_a_cpu(count: int, memory: int | None, expected: int) -> None:
    assert limit(survey(), device="cpu", count=count, memory_bytes=memory) == expected


def test_each_gpu_has_its_own() -> None:
    assert limit(survey(device=GPU), device="cuda", count=2) == 16 * GIB


@pytest.mark.parametrize(("count", "memory"), [(1, 17 * GIB), (2, 9 * GIB)])
def test_more_than_there_is_is_refused_with_what_can_be_had(count: int, memory: int) -> None:
    with pytest.raises(DeviceError, match=f"at most {16 / count:.2f} GiB") as raised:
        limit(survey(), device="cpu", count=count, memory_bytes=memory)
    assert ("for each of 2 processes, which share one memory" in str(raised.value)) == (count == 2)


def test_more_gpus_than_there_are_are_refused() -> None:
    with pytest.raises(DeviceError, match=r"target\.count is 4, and of A GPU there are 2 here; lower target\.count"):
        limit(survey(device=GPU), device="cuda", count=4)


def test_the_share_is_said_where_there_is_one() -> None:
    limited = with_memory(probe(target=Target(device="cpu", count=2)), survey())
    said = "2 processes share the memory of this machine: each may take 3.00 GiB, all together 6.00 GiB"
    assert shared_memory(limited, survey()) == (said,)
    assert shared_memory(with_memory(probe(), survey()), survey()) == ()
    assert shared_memory(limited, survey(device=GPU)) == ()


def test_trials_are_held_to_it_and_the_study_says_so(tmp_path: Path) -> None:
    runner = ScriptedRunner(interrupt_at=1)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, runner, target=Target(device="cpu", count=2))
    assert {request.memory_limit_bytes for request in runner.requests} == {3 * GIB}
    assert "all together 6.00 GiB" in (tmp_path / "study.json").read_text()


def test_what_the_shell_would_change_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert left_out_of_shell() == ()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    (said,) = left_out_of_shell()
    assert said.startswith("your shell has ACCELERATE_MIXED_PRECISION=bf16, which the trials do not take over")
