"""Find the fastest TrainingArguments that fit, by measuring the user's own Trainer on the device at hand."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perftune.api import probe

__version__ = "0.1.0"
__all__ = ["__version__", "probe"]


def __getattr__(name: str) -> Any:
    """``perftune.probe``, imported when it is first used: ``perftune --help`` does without it."""
    if name == "probe":
        from perftune.api import probe

        return probe
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
