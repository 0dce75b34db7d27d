"""What PyYAML says of a text that is no YAML to the line at fault and what to do there, in words of the file."""

import re

import yaml

BRACKETS = {"flow sequence": ("[", "]"), "flow mapping": ("{", "}")}


def syntax_fault(error: yaml.MarkedYAMLError, text: str) -> tuple[int | None, str]:
    """The line, from 1, and what is wrong there; what is not known better, in the words of PyYAML."""
    context, problem = error.context or "", error.problem or ""
    here, begun = (mark.line + 1 if mark else None for mark in (error.problem_mark, error.context_mark))
    lines = ["", *text.splitlines(), ""]
    if "quoted scalar" in context and "end of stream" in problem:
        return begun, "a quote is opened here and not closed; close it"
    for name, (opened, closed) in BRACKETS.items():
        if name in context:
            said = f"the bracket {opened} that is opened here is not closed, or a comma is missing in it; "
            return begun, f"{said}close it with {closed}"
    if "'\\t'" in problem:
        return here, "begins with a tab; indent with spaces"
    if "single document" in context:
        return here, "a second document begins here, with ---; a probe file is one, so take that line out"
    if "mapping values are not allowed" in problem and here is not None:
        return _unexpected_colon(here, lines)
    if "block end" in problem:
        return here, "is indented otherwise than the lines above it; keys that belong together stand below one another"
    if "could not find expected ':'" in problem:
        return begun or here, "is a key without a colon; write `key: value`"
    if "cannot start any token" in problem and (found := re.search(r"character '(.)'", problem)):
        return here, f"a value begins with {found[1]}, which YAML keeps for itself; put the value in quotes"
    return here or begun, f"is not YAML: {', '.join(part for part in (context, problem) if part)}"


def _unexpected_colon(here: int, lines: list[str]) -> tuple[int, str]:
    line, before = lines[here], here - 1
    while before > 0 and not lines[before].strip():
        before -= 1
    if len(re.findall(r":\s", line)) > 1:
        return here, "has two colons; put a value that has a colon in it in quotes"
    if before > 0 and not re.search(r":(\s|$)", lines[before]) and ":" in lines[before]:
        return here, f"is not expected here, as line {before} has a colon without a space after it; write `key: value`"
    return here, "is indented more than the line above, which has its value already; indent both alike"
