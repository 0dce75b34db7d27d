"""Ctrl-C works in what the tests start, also where a script runs them in the background, with SIGINT ignored.

What the tests start keeps its traces in a folder of this session, so that no run finds those of another.
"""

import signal
from collections.abc import Iterator

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERFTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
