"""``perftune`` and ``python -m perftune``: the command line, ended with its exit code."""

import sys


def main() -> None:
    """Run the command line."""
    from perftune.cli import main as run

    sys.exit(run())


if __name__ == "__main__":
    main()
