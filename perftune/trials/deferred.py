"""A module that must not be imported before a fork to a stand-in, which the real one replaces on first use. Child side.

bitsandbytes asks the GPUs for their capability when it is imported, which initialises CUDA, and CUDA does not survive a
fork. transformers.trainer imports it through peft where both are installed, but uses nothing of it until it trains.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

DEFERRED = ("bitsandbytes",)


class StandIn(ModuleType):
    """Looks like an imported module; imports the real one when anything of it is wanted."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # inspect asks all modules for these
            raise AttributeError(name)
        undefer([self.__name__])
        return getattr(importlib.import_module(self.__name__), name)


def defer(names: Sequence[str] = DEFERRED) -> None:
    """Put a stand-in where a module is installed and not imported yet."""
    for name in names:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is not None:
            stand_in = StandIn(name)
            stand_in.__spec__, stand_in.__file__ = spec, spec.origin
            stand_in.__path__ = spec.submodule_search_locations or []
            sys.modules[name] = stand_in


def undefer(names: Sequence[str] = DEFERRED) -> None:
    """Let the next import take the real module; a stand-in that someone holds passes on to it."""
    for name in names:
        if isinstance(sys.modules.get(name), StandIn):
            del sys.modules[name]
