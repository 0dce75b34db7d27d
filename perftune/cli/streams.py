"""Whatever standard streams there are, closed, in another encoding or read by nobody, to ones that can be written."""

import codecs
import contextlib
import os
import sys

from perftune.printable import SPELLED, printable_lines

SPELLING = "perftune.spelling"
"""The name that the way of writing what an encoding does not have is registered by."""
STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
"""In the order of their descriptors, from 0."""


def make_writable() -> None:
    """Let every later print succeed, as far as that lies with the streams.

    Where a stream is closed, the next file that is opened would take its descriptor, and be written into by whoever
    thinks that it is the stream.
    """
    for number, (name, mode) in enumerate(STREAMS):
        if getattr(sys, name) is None:
            _fill(number)
            stream = os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8")
            setattr(sys, name, stream)
    codecs.register_error(SPELLING, _spelled)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=SPELLING)


def say(text: str) -> None:
    """Print progress. That nobody reads it, or that it has no room, is no reason to stop what it tells of."""
    try:
        print(printable_lines(text), flush=True)
    except OSError:
        unread()


def unread() -> None:
    """Whoever read the output, such as ``head``, has gone: the rest goes nowhere, and Python's last flush with it."""
    with contextlib.suppress(OSError, ValueError):  # no descriptor behind it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _fill(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number, inheritable=True)
            os.close(nowhere)


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """In letters that every encoding has, as a file of arguments spells it, too."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(SPELLED)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end
