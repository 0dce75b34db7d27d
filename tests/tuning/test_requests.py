"""A candidate to the arguments of its trial: the user's own, with nothing of them left that would undo it."""

import pytest

from perftune.devices.cuda_allocator import NAMES
from perftune.records.candidate import COMPILE, CUDA_ALLOCATOR, PRECISION
from perftune.tuning.requests import candidate_arguments, environment
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


@pytest.mark.parametrize(("compiles", "is_kept"), [(False, False), (True, True), (None, True)])
def test_what_makes_transformers_compile_goes_where_the_candidate_does_not(
    compiles: bool | None, is_kept: bool
) -> None:
    """Without the knob it is the user's own affair."""
    own = {"torch_compile_backend": "inductor", "torch_compile_mode": "default"}
    study = empty_study(training_arguments=own)
    settings = {name: value for name, value in study.space.base.settings.items() if name != COMPILE}
    candidate = study.space.base.model_copy(
        update={"settings": settings if compiles is None else {**settings, COMPILE: compiles}}
    )
    assert (own.keys() <= candidate_arguments(study, candidate).keys()) is is_kept
    assert candidate_arguments(study, candidate).get(COMPILE) is compiles


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("default", dict.fromkeys(NAMES, "")),
        ("expandable_segments:True", dict.fromkeys(NAMES, "expandable_segments:True")),
    ],
)
def test_the_default_allocator_is_torchs_and_not_the_shells(value: str, expected: dict[str, str]) -> None:
    base = empty_study().space.base
    assert environment(base.replace(**{CUDA_ALLOCATOR: value})) == expected
    assert environment(base) == {}, "a study without the knob leaves the shell as it is"
