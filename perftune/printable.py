"""What users and libraries call things to text that moves no cursor, sets no title and turns no reading direction."""

import re

ESCAPE_SEQUENCE = re.compile(
    r"\x1b\][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC: titles, links, the clipboard; ends with BEL or ST
    r"|\x1b[P^_X][^\x1b\x9c]*(?:\x1b\\|\x9c)?"  # strings for the terminal itself, which end with ST
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, movement
    r"|\x1b[ -/]*[0-~]"  # the others
)
"""ECMA-48, 5th edition, sections 5.3 to 5.6; what of one is printable would be left over as noise."""
MAX_CHARACTERS = 2000
"""Of a message: an error may carry a whole data set in its words."""


SPELLED = str.maketrans(
    {"×": "x", "–": "-", "—": "-", "−": "-", "→": "->", "µ": "u", "±": "+-", "≥": ">=", "≤": "<=", "…": "...", "•": "*"}
    | {"“": '"', "”": '"', "’": "'"}
)
"""How perftune's own signs are spelled where there is ASCII alone."""


def printable(text: object) -> str:
    """On one line, without escape sequences and what else steers a terminal or turns the direction of reading."""
    return "".join(c if c.isprintable() else " " for c in ESCAPE_SEQUENCE.sub("", str(text)))


def printable_lines(text: object) -> str:
    """The same, with the ends of lines kept."""
    return "\n".join(printable(line) for line in str(text).splitlines())


def first_line(text: object) -> str:
    """The first line that says something, printable and of bounded length; empty where none does."""
    lines = (printable(line).strip() for line in str(text).splitlines())
    line = next(filter(None, lines), "")
    return line if len(line) <= MAX_CHARACTERS else line[: MAX_CHARACTERS - 1] + "…"


def ascii_json(text: str) -> str:
    """A JSON text with every character that is not plain ASCII as an escape, so that any terminal can take it."""
    return re.sub(r"[^\n\x20-\x7e]", lambda match: _escaped(match[0]), text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
