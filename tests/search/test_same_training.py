"""What another micro-batch changed that it must not."""

from typing import Any

import pytest

from perftune.records.candidate import Candidate
from perftune.records.trial import Measurement, MemoryPeak, Outcome, Purpose, Steps, Trial
from perftune.search.same_training import trains_otherwise

SEEN: dict[str, Any] = {"first_rows": "a", "row_contents": "b", "num_steps_inside": 1}


def trial(micro_batch: int, **seen: Any) -> Trial:
    measurement = Measurement(
        steps=Steps(),
        num_warmup_steps=0,
        memory=MemoryPeak(kind="resident", peak_bytes=1, start_bytes=1, train_bytes=1),
        start_seconds=0.0,
        build_seconds=0.0,
        stopped_because="exact_steps",
        **{**SEEN, **seen},
    )
    candidate = Candidate(settings={"per_device_train_batch_size": micro_batch})
    return Trial(
        number=1, purpose=Purpose.SEARCH, candidate=candidate, outcome=Outcome.COMPLETED, measurement=measurement,
        wall_seconds=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"first_rows": "x"}, "with a micro-batch of 2 the first optimizer step draws other rows of the data"),
        (
            {"row_contents": "x"},
            "with a micro-batch of 2 the rows of the train data hold something else than",
        ),
        (
            {"num_steps_inside": 4},
            "an optimizer makes 4 steps within one optimizer step of the Trainer",
        ),
    ],
)
def test_what_differs_is_said_with_what_to_do(seen: dict[str, Any], said: str) -> None:
    found = trains_otherwise(trial(2, **seen), trial(8))
    assert found is not None
    assert said in found
    assert "Hold the micro-batch with `knobs: {per_device_train_batch_size: [8]}` in the probe file" in found


@pytest.mark.parametrize("seen", [{}, {"first_rows": None}, {"row_contents": None}])
def test_what_is_alike_or_unknown_is_no_difference(seen: dict[str, Any]) -> None:
    assert trains_otherwise(trial(2, **seen), trial(8)) is None
    assert trains_otherwise(trial(2), trial(8, **seen)) is None


def test_the_same_micro_batch_is_compared_by_its_gradient_alone() -> None:
    assert trains_otherwise(trial(8, first_rows="x"), trial(8)) is None


def test_who_may_reorder_the_data_may_draw_other_rows_and_no_more() -> None:
    assert trains_otherwise(trial(2, first_rows="x"), trial(8), may_reorder=True) is None
    assert trains_otherwise(trial(2, row_contents="x"), trial(8), may_reorder=True) is not None
