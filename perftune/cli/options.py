"""Words that a user types to values of options: the types that several verbs share, and how a verb is declared."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable

AddVerb = Callable[..., ArgumentParser]
"""``add_parser`` of argparse: ``(name, help=…)`` to the parser of a verb."""


def verb_parser(add_verb: AddVerb, run: Callable[..., None], name: str, text: str) -> ArgumentParser:
    """Make a verb's parser, which its options are added to.

    Args:
        add_verb: what adds a verb.
        run: called with the options, by the names of its parameters.
        name: of the verb.
        text: one sentence; the first line of its help, and its line in the list of verbs.
    """
    # No abbreviations: an option that is added later would change what they mean.
    parser = add_verb(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(run=run)
    return parser


def whole_number(text: str) -> int:
    """A whole number from 1.

    Raises:
        ArgumentTypeError: it is something else.
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise ArgumentTypeError(f"{text} is not a whole number from 1")
    return value


def number_of_minutes(text: str) -> float:
    """A number of minutes.

    Raises:
        ArgumentTypeError: it is something else, not above 0, or without end.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"{text} is not a number of minutes above 0")
    return value
