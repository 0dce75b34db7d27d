"""Heartbeats are as rare as the parent looks, and a new phase is told at once."""

from pathlib import Path

from perftune.measuring.heartbeat import INTERVAL_SECONDS, HeartbeatFile
from perftune.records.trial import Heartbeat


def read(path: Path) -> Heartbeat:
    return Heartbeat.model_validate_json(path.read_text())


def test_beats_of_one_phase_are_thinned(tmp_path: Path) -> None:
    now = 0.0
    path = tmp_path / "heartbeat.json"
    looked: list[int] = []

    def used_bytes() -> int:
        looked.append(1)
        return 7

    beat = HeartbeatFile(path, used_bytes, clock=lambda: now)
    beat.beat("train", 1, 0.01)
    now = INTERVAL_SECONDS / 2
    beat.beat("train", 2, 0.01)
    assert read(path) == Heartbeat(phase="train", num_steps=1, step_seconds=0.01, memory_bytes=7)
    assert len(looked) == 1
    now = INTERVAL_SECONDS
    beat.beat("train", 3, 0.02)
    assert read(path) == Heartbeat(phase="train", num_steps=3, step_seconds=0.02, memory_bytes=7)


def test_a_new_phase_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat.json"
    beat = HeartbeatFile(path, lambda: None, clock=lambda: 0.0)
    beat.beat("build")
    beat.beat("train")
    assert read(path).phase == "train"
    assert [file.name for file in tmp_path.iterdir()] == ["heartbeat.json"]
