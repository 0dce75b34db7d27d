"""What may stand in the words of others, and what of it is left."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perftune.errors import WorkloadError
from perftune.printable import MAX_CHARACTERS, ascii_json, first_line, printable, printable_lines

SEQUENCES = [
    ("red \x1b[1;31mtext\x1b[0m", "red text"),
    ("title \x1b]0;owned\x07after", "title after"),
    ("clipboard \x1b]52;c;cm0gLXJm\x1b\\after", "clipboard after"),
    ("link \x1b]8;;http://x.yz\x1b\\here\x1b]8;;\x1b\\", "link here"),
    ("of eight bits \x9b31mred", "of eight bits red"),
    ("strings \x1bPq#0\x1b\\ \x1b_apc\x1b\\ \x1b^pm\x1b\\.", "strings   ."),
    ("reset \x1bc charset \x1b(B.", "reset  charset ."),
    ("never ended \x1b]0;all of this", "never ended "),
    ("over\rwritten", "over written"),
    ("back\x08space bell\x07", "back space bell "),
    ("turned \u202egpj.exe\u202c", "turned  gpj.exe "),
    ("no width \u200bhere", "no width  here"),
    ("naïve 模型 μs", "naïve 模型 μs"),
]


@pytest.mark.parametrize(("text", "left"), SEQUENCES)
def test_what_steers_a_terminal_is_taken_out(text: str, left: str) -> None:
    assert printable(text) == left


@given(st.text())
def test_nothing_that_cannot_be_printed_is_left(text: str) -> None:
    assert printable(text).isprintable()
    assert all(line.isprintable() for line in printable_lines(text).split("\n"))
    assert first_line(text).isprintable()


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "S"))))
def test_what_can_be_printed_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "line"), [("", ""), ("\n \n", ""), ("\n\x1b[31m\n  why \nmore", "why"), ("a" * 9999, "a" * 1999 + "…")]
)
def test_the_first_line_is_the_first_that_says_something_and_no_book(text: str, line: str) -> None:
    assert first_line(text) == line
    assert len(line) <= MAX_CHARACTERS


def test_the_message_of_every_error_of_ours_can_be_printed() -> None:
    error = WorkloadError("runs/\x1b]0;x\x07data: no such \u202efile\nname \x9b2Janother")
    assert str(error) == "runs/data: no such  file\nname another"


@given(st.recursive(st.text() | st.floats(allow_nan=False) | st.none(), lambda inner: st.lists(inner, max_size=3)))
def test_json_in_ascii_is_the_same_json(value: object) -> None:
    text = ascii_json(json.dumps(value, indent=1, ensure_ascii=False))
    assert text.replace("\n", "").isprintable()
    assert text.isascii()
    assert json.loads(text) == value
