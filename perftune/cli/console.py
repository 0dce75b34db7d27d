"""A summary to the terminal, or to plain lines where there is none."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


def show(summary: "RenderableType", pipe_width: int) -> None:
    """Print it.

    Args:
        summary: what a renderer made.
        pipe_width: columns in a log or a pipe.
    """
    # Not above: `perftune --help` does without it.
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(summary)
        return
    console = Console(highlight=False, width=pipe_width, no_color=True, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(summary)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
