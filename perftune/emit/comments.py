"""Any text to comment lines that nothing in the text can break out of."""

import textwrap

from perftune.printable import SPELLED, printable

WIDTH = 110


def plain(text: str) -> str:
    """Printable ASCII on one line; what is neither is spelled as an escape, or a space for line ends and controls."""
    return printable(text).translate(SPELLED).encode("ascii", "backslashreplace").decode("ascii")


def comment(text: str) -> str:
    """The text as ``#`` lines, wrapped between words; leading spaces are kept."""
    flat = plain(text)
    indent = " " * (len(flat) - len(flat.lstrip()))
    lines = textwrap.wrap(flat.strip(), WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    return "".join(f"# {indent}{line}".rstrip() + "\n" for line in lines)
