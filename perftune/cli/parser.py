"""argparse's parser, with messages in whole sentences that name the word that was meant."""

import re
from argparse import ArgumentParser
from typing import NoReturn

from perftune.printable import printable_lines

ENDS = (".", "?", "!", "…", ":")


class Parser(ArgumentParser):
    """A parser whose errors say what to do."""

    def error(self, message: str) -> NoReturn:
        """Print it, with nothing that would steer the terminal, and end."""
        told = f"{whole_sentences(message)}{self._meant(message)} `{self.prog} --help` shows all that there is."
        super().error(printable_lines(told))

    def _meant(self, message: str) -> str:
        """`` Did you mean …?`` for a misspelt command, choice or option."""
        import difflib  # not above: most commands have none

        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if choice:
            seen, known = choice[1], [name.strip(" '") for name in choice[2].split(",")]
        elif option := re.search(r"unrecognized arguments: (--?[\w-]+)", message):
            seen, known = option[1], list(self._option_string_actions)
        else:
            return ""
        near = difflib.get_close_matches(seen, known, n=1)
        return f" Did you mean {near[0]}?" if near else ""


def whole_sentences(text: str) -> str:
    """The text with a full stop at the end of each line that has none."""
    return "\n".join(line if line.endswith(ENDS) else f"{line}." for line in text.split("\n"))
