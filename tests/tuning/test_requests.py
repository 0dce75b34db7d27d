"""A candidate to the arguments of its trial: the user's own, with nothing of them left that would undo it."""

import pytest

from perftune.records.candidate import PRECISION
from perftune.tuning.requests import candidate_arguments
from tests.tuning.made import empty_study


@pytest.mark.parametrize(
    ("precision", "own", "expected"),
    [("fp32", True, False), ("tf32", True, True), ("bf16", True, True), ("fp32", False, False), ("fp32", None, None)],
)
def test_fp32_is_fp32_also_where_the_users_own_is_tf32(precision: str, own: bool | None, expected: bool | None) -> None:
    study = empty_study()
    arguments = {**study.probe.training_arguments, **({} if own is None else {"tf32": own})}
    study = study.model_copy(update={"probe": study.probe.model_copy(update={"training_arguments": arguments})})
    found = candidate_arguments(study, study.space.base.replace(**{PRECISION: precision}))
    assert found.get("tf32") is expected
