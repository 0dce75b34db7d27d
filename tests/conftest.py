"""Ctrl-C works in what the tests start, also where a script runs them in the background, with SIGINT ignored.

Files that take long begin first, so that no process of the tests is left alone with one at the end.
What the tests start keeps its traces in a folder of this session, so that no run finds those of another.
"""

import signal
from collections.abc import Iterator

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERFTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
