"""The environment that sets the CUDA allocator, against what the installed torch reads."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from perftune.devices.cuda_allocator import NAMES, allocator_environment, own_setting


@pytest.mark.parametrize(
    ("value", "expected"), [("expandable_segments:True", "expandable_segments:True"), ("default", "")]
)
def test_both_names_are_set(value: str, expected: str) -> None:
    assert allocator_environment(value) == dict.fromkeys(NAMES, expected)


@pytest.mark.parametrize(
    ("environment", "value"),
    [
        ({}, "default"),
        ({NAMES[0]: ""}, "default"),
        ({NAMES[1]: "max_split_size_mb:64"}, "max_split_size_mb:64"),
        ({NAMES[0]: "expandable_segments:True", NAMES[1]: "max_split_size_mb:64"}, "expandable_segments:True"),
        ({NAMES[0]: "", NAMES[1]: "max_split_size_mb:64"}, "default"),
    ],
)
def test_the_value_of_a_shell_is_one_of_the_knob(environment: dict[str, str], value: str) -> None:
    assert own_setting(environment) == value
    assert own_setting(allocator_environment(value)) == value


def test_the_installed_torch_reads_these_names() -> None:
    spec = find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    headers = Path(spec.origin).parent / "include" / "c10"
    text = (headers / "cuda" / "CUDAAllocatorConfig.h").read_text()
    assert all(f'get_env("{name}")' in text for name in NAMES)
    assert text.index(f'"{NAMES[0]}"') < text.index(f'"{NAMES[1]}"')
