"""Errors of the command line are whole sentences, and name the word that was meant."""

import pytest

from perftune.cli import main
from perftune.cli.parser import whole_sentences


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prob"], "Did you mean probe? `perftune --help` shows all that there is."),
        (["xyz"], "'schema'). `perftune --help`"),
        (["probe", "m.yaml", "--minute", "3"], "Did you mean --minutes? `perftune probe --help`"),
        (["probe", "m.yaml", "--strategy", "modle"], "Did you mean model?"),
        (["probe", "m.yaml", "--trials", "0"], "0 is not a whole number from 1. `perftune probe --help`"),
    ],
)
def test_what_was_meant_is_named(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", "a."), ("a.", "a."), ("a?", "a?"), ("m has 2 problems:\n  b\n  c?", "m has 2 problems:\n  b.\n  c?")],
)
def test_lines_end_as_sentences_do(text: str, expected: str) -> None:
    assert whole_sentences(text) == expected
