"""Errors, worked out by hand: like with like, per source, verdicts near the boundary apart."""

import pytest

from benchmarks.validation.rows import gpu_memory_bytes, load_rows, usable
from benchmarks.validation.score import (
    Group,
    Predicted,
    Verdicts,
    errors_by_group,
    left_out,
    memory_errors,
    over_sources,
    signed_error,
    summary,
    throughput_error,
    verdicts,
)
from benchmarks.validation.tables import markdown

GIB = 2**30


def row(name="a", **changes):
    values = {
        "id": name,
        "source_key": "one",
        "tier": "A",
        "kind": "memory",
        "gpu": "a100-40gb-sxm",
        "gpu_memory_bytes": None,
        "seq_len": 100,
        "memory_kind": "allocated",
        "memory_low_bytes": 10 * GIB,
        "memory_high_bytes": 10 * GIB,
        "also": {},
        "outcome": "ok",
        "throughput": None,
        "unusable": None,
    }
    return values | changes


def predicted(name="a", allocated=8, reserved=10, device=11, **more):
    return Predicted(name, allocated * GIB, reserved * GIB, device * GIB, **more)


@pytest.mark.parametrize(("kind", "error"), [("allocated", -0.2), ("reserved", 0.0), ("device", 0.1)])
def test_like_is_compared_with_like(kind, error):
    assert signed_error(row(memory_kind=kind), predicted()) == pytest.approx(error)


@pytest.mark.parametrize(
    ("low", "high", "error"), [(7, 9, 0.0), (8, 8, 0.0), (4, 5, 0.6), (10, 16, -0.2), (5, 10, 0.0)]
)
def test_an_interval_has_no_error_inside_and_the_distance_to_the_nearer_end_outside(low, high, error):
    published = row(memory_low_bytes=low * GIB, memory_high_bytes=high * GIB)
    assert signed_error(published, predicted()) == pytest.approx(error)


@pytest.mark.parametrize(("low", "high", "error"), [(10, 10, 0.0), (11, 12, 0.0), (20, 22, -0.45), (4, 5, 0.6)])
def test_an_unknown_kind_is_anything_from_allocated_to_device(low, high, error):
    published = row(memory_kind="unknown", memory_low_bytes=low * GIB, memory_high_bytes=high * GIB)
    assert signed_error(published, predicted()) == pytest.approx(error)


def test_what_was_not_predicted_or_not_published_has_no_error():
    assert signed_error(row(memory_kind="device"), Predicted("a", allocated_bytes=8)) is None
    assert signed_error(row(memory_kind="unknown"), Predicted("a", allocated_bytes=8)) is None
    nothing = row(memory_kind=None, memory_low_bytes=None, memory_high_bytes=None)
    assert signed_error(nothing, predicted()) is None
    assert memory_errors(nothing, predicted()) == {}


def test_further_kinds_of_the_same_run_are_compared_too():
    published = row(also={"reserved": 8 * GIB, "device": 11 * GIB})
    assert memory_errors(published, predicted()) == pytest.approx({"allocated": -0.2, "reserved": 0.25, "device": 0.0})


@pytest.mark.parametrize(
    ("unit", "more", "error"),
    [
        ("samples_per_second", {"samples_per_second": 5.0}, 0.25),
        ("samples_per_second", {"tokens_per_second": 500.0}, 0.25),
        ("tokens_per_second", {"tokens_per_second": 3.0}, -0.25),
        ("tokens_per_second", {"samples_per_second": 0.03}, -0.25),
    ],
)
def test_rates_are_compared_in_the_published_unit(unit, more, error):
    published = row(throughput={"value": 4.0, "unit": unit})
    assert throughput_error(published, Predicted("a", **more)) == pytest.approx(error)
    assert throughput_error(row(), Predicted("a", **more)) is None
    assert throughput_error(published, Predicted("a")) is None


def test_summary_of_absolute_errors_keeps_the_sign_apart():
    result = summary([-0.1, -0.3, 0.2, -0.5, -0.4])
    assert result.num == 5
    assert result.median == pytest.approx(0.3)
    # Sorted 0.1 0.2 0.3 0.4 0.5; position 0.9 × 4 = 3.6.
    assert result.percentile_90 == pytest.approx(0.46)
    assert result.bias == pytest.approx(-0.3)


def test_a_source_counts_once_however_many_rows_it_has():
    exact = [row(f"many-{number}", memory_low_bytes=8 * GIB, memory_high_bytes=8 * GIB) for number in range(9)]
    rows = [*exact, row("few", source_key="two", memory_low_bytes=16 * GIB, memory_high_bytes=16 * GIB)]
    groups = errors_by_group(rows, {each["id"]: predicted(each["id"]) for each in rows})
    assert {key.source: len(errors) for key, errors in groups.items()} == {"one": 9, "two": 1}
    mean = over_sources(groups)["A", "memory", "allocated"]
    # The two sources' medians are 0 and 0.5; over rows it would be 0.05.
    assert mean.num == 2
    assert mean.median == pytest.approx(0.25)
    assert mean.percentile_90 == pytest.approx(0.25)
    assert mean.bias == pytest.approx(-0.25)


def test_tiers_and_kinds_are_not_mixed_and_unusable_rows_not_counted():
    rows = [row("a"), row("b", tier="B"), row("c", kind="sharded"), row("d", unusable="reason"), row("e")]
    groups = errors_by_group(rows, {name: predicted(name) for name in "abcd"})
    assert set(groups) == {
        Group("one", "A", "memory", "allocated"),
        Group("one", "B", "memory", "allocated"),
        Group("one", "A", "sharded", "allocated"),
    }
    assert [len(errors) for errors in groups.values()] == [1, 1, 1]
    assert left_out(rows) == {("reason", "A", "memory"): 1}


def test_verdicts_near_the_boundary_are_apart():
    rows = [
        row(name, kind="fits", outcome=outcome)
        for name, outcome in zip("abcd", ("ok", "oom", "oom", "ok"), strict=True)
    ]
    rows.append(row("e", kind="fits", gpu=None))
    needs = {"a": (20, True), "b": (60, False), "c": (35, True), "d": (45, False), "e": (20, True)}
    made = {name: predicted(name, device=need, fits=fits) for name, (need, fits) in needs.items()}
    # 35 and 45 are an eighth below and above 40; of both the verdict is wrong.
    assert verdicts(rows, made) == {("one", "A", "fits"): Verdicts(2, 2, 0, 2)}
    made["c"] = predicted("c", device=33, fits=True)
    assert verdicts(rows, made) == {("one", "A", "fits"): Verdicts(2, 3, 0, 1)}


def test_memory_of_a_gpu():
    assert gpu_memory_bytes(row()) == 40 * GIB
    assert gpu_memory_bytes(row(gpu_memory_bytes=39 * GIB)) == 39 * GIB
    assert gpu_memory_bytes(row(gpu=None)) is None


def test_markdown_shows_every_predicted_row_and_counts_the_rest():
    rows = [
        row("a", throughput={"value": 4.0, "unit": "samples_per_second"}),
        row("b", memory_kind="unknown", memory_low_bytes=4 * GIB, memory_high_bytes=5 * GIB),
        row("c", unusable="reason"),
        row("d"),
    ]
    text = markdown(rows, [predicted("a", fits=False, samples_per_second=5.0), predicted("b")])
    assert "4 published rows, 3 usable, 2 predicted." in text
    assert "| A | memory | allocated | 1 | 20.0% | 20.0% | -20.0% |" in text
    assert "| one | A | memory | unknown | 1 | 60.0% | 60.0% | +60.0% |" in text
    assert "| a | allocated | 8.00 GiB | 10.00 GiB | -20.0% |" in text
    assert "| b | unknown | 8.00 – 11.00 GiB | 4.00 – 5.00 GiB | +60.0% |" in text
    assert "| a | throughput | 5 | 4 samples/s | +25.0% |" in text
    assert "| a | verdict | oom | ok | wrong |" in text
    assert "| one | A | memory | 0 of 1 | – |" in text
    assert "| reason | A | memory | 1 |" in text


def test_the_shipped_rows_are_whole():
    rows = load_rows()
    assert len({each["id"] for each in rows}) == len(rows)
    for each in rows:
        assert each["tier"] in "AB"
        assert each["kind"] in {"memory", "sharded", "throughput", "fits"}
        assert (each["memory_kind"] is None) == (each["memory_low_bytes"] is None)
        if each["memory_low_bytes"] is not None:
            assert 2**20 < each["memory_low_bytes"] <= each["memory_high_bytes"]
        if usable(each):
            assert each["memory_low_bytes"] or each["throughput"] or each["kind"] == "fits"
            assert each["seq_len"]
            assert each["micro_batch"]
