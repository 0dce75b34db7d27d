"""Descriptors to those that can be read now, or have been closed on the other side. No torch."""

import select
from collections.abc import Sequence


def readable(descriptors: Sequence[int], seconds: float | None = None) -> list[int]:
    """Wait until one can be read, or for so many seconds; None: for ever.

    Not select(2), which knows descriptors below 1,024 alone: the user's process may have more files open.
    """
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in waiting.poll(None if seconds is None else 1000 * seconds)]
