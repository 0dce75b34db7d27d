"""A module that is not imported before a fork to a stand-in, which the real one replaces on first use. Child side.

bitsandbytes asks the GPUs for their capability when it is imported, which initialises CUDA, and CUDA does not survive a
fork. transformers.trainer imports it through peft where both are installed, but uses nothing of it until it trains.

A trace needs next to nothing of what transformers.trainer imports, and waits for all of it. Two large packages are
imported for the sake of a function each; where nothing is measured, the function is a stand-in too.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

DEFERRED = ("bitsandbytes",)
FUNCTIONS = {
    "scipy.optimize": ("linear_sum_assignment",),
    "torchao.prototype.safetensors.safetensors_support": ("flatten_tensor_state_dict", "unflatten_tensor_state_dict"),
}
"""Module -> functions that transformers takes from it when it is imported itself, and calls in the loss of object
detection (transformers/loss/) and where quantised weights are saved (quantizers/quantizer_torchao.py)."""


class StandIn(ModuleType):
    """Looks like an imported module; imports the real one when anything of it is wanted."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # inspect asks all modules for these
            raise AttributeError(name)
        if name in FUNCTIONS.get(self.__name__, ()):
            return _passes_on(self.__name__, name)
        return _real(self.__name__, name)


def _real(module: str, name: str) -> Any:
    undefer([module])
    return getattr(importlib.import_module(module), name)


def _passes_on(module: str, name: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        return _real(module, name)(*args, **kwargs)

    return function


def defer(names: Iterable[str] = DEFERRED) -> None:
    """Put a stand-in where a module is installed and not imported yet."""
    for name in names:
        spec = None if name in sys.modules else _spec(name)
        if spec is not None:
            stand_in = StandIn(name)
            stand_in.__spec__, stand_in.__file__ = spec, spec.origin
            stand_in.__path__ = spec.submodule_search_locations or []
            sys.modules[name] = stand_in


def _spec(name: str) -> ModuleSpec | None:
    """As ``importlib.util.find_spec``, which would import the packages that it lies in."""
    package, _, rest = name.partition(".")
    spec = importlib.util.find_spec(package)
    for part in rest.split(".") if rest else ():
        if spec is None:
            return None
        package = f"{package}.{part}"
        spec = PathFinder.find_spec(package, spec.submodule_search_locations)
    return spec


def undefer(names: Iterable[str] = (*DEFERRED, *FUNCTIONS)) -> None:
    """Let the next import take the real module; a stand-in that someone holds passes on to it."""
    for name in names:
        if isinstance(sys.modules.get(name), StandIn):
            del sys.modules[name]
