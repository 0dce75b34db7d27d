"""Traces come back as they were kept; what is broken, foreign or too much is no trace, and nothing fails for it."""

import os
from pathlib import Path

import pytest

from perftune.planning.trace_cache import KeptTrace, TraceCache, cache_folder
from tests.plan.traces import step, trace

KEPT = KeptTrace(trace=trace(step(1), step(2)), peaks_bytes={"8 adamw": 123})


def used_at(path: Path, seconds: int) -> None:
    os.utime(path, (seconds, seconds))


def test_what_was_put_is_found_again_by_another_cache(tmp_path: Path) -> None:
    TraceCache(tmp_path / "traces").put("a", KEPT)
    again = TraceCache(tmp_path / "traces")
    assert again.get("a") == KEPT
    assert again.get("b") is None
    assert [path.name for path in (tmp_path / "traces").iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"format_version": 1}',
        KEPT.model_dump_json().encode()[:-9],
        KEPT.model_copy(update={"format_version": 99}).model_dump_json().encode(),
    ],
)
def test_a_broken_file_is_no_trace_and_is_replaced(tmp_path: Path, broken: bytes) -> None:
    cache = TraceCache(tmp_path)
    (tmp_path / "a.json").write_bytes(broken)
    assert cache.get("a") is None
    cache.put("a", KEPT)
    assert cache.get("a") == KEPT


def test_of_too_many_those_go_that_were_not_used_for_longest(tmp_path: Path) -> None:
    size = len(KEPT.model_dump_json())
    cache = TraceCache(tmp_path, max_bytes=3 * size)
    for number, key in enumerate("abc"):
        cache.put(key, KEPT)
        used_at(tmp_path / f"{key}.json", 1000 + number)
    assert cache.get("a") is not None, "and so it was used last"
    cache.put("d", KEPT)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "c", "d"]


def test_what_a_killed_writer_left_counts_and_goes(tmp_path: Path) -> None:
    left = tmp_path / ".a.json.123"
    left.write_bytes(b" " * len(KEPT.model_dump_json()))
    used_at(left, 1000)
    TraceCache(tmp_path, max_bytes=3 * left.stat().st_size // 2).put("b", KEPT)
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


def test_a_folder_that_cannot_be_written_is_an_empty_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = TraceCache(tmp_path / "file" / "traces")
    cache.put("a", KEPT)
    assert cache.get("a") is None


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"PERFTUNE_CACHE": "/own", "XDG_CACHE_HOME": "/shared"}, "/own"),
        ({"XDG_CACHE_HOME": "/shared"}, "/shared/perftune"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/someone/.cache/perftune"),
        ({"PERFTUNE_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/someone/.cache/perftune"),
        ({}, "/home/someone/.cache/perftune"),
    ],
)
def test_where_the_folder_is(environment: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder(environment) == Path(folder)


def test_where_there_is_no_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TraceCache.of_user() is not None

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("PERFTUNE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert TraceCache.of_user() is None
