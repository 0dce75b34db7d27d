"""Every test here needs a GPU: it is marked so, and skipped with the reason where there is none."""

from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(autouse=True)
def _gpu() -> None:
    from perftune.devices import cuda

    reason = cuda.why_unavailable()
    if reason is not None:
        pytest.skip(reason)
