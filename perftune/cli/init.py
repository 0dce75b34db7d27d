"""``perftune init``: a first probe file, commented."""

from pathlib import Path

from perftune.cli.options import AddVerb, verb_parser
from perftune.cli.streams import say
from perftune.errors import OutputExistsError, PerftuneError


def declare(add_verb: AddVerb) -> None:
    """Add the verb to the command line."""
    text = "Write a commented probe file that runs as it stands, to start from."
    parser = verb_parser(add_verb, init, "init", text)
    parser.add_argument(
        "path", nargs="?", type=Path, metavar="PATH", default=Path("model.yaml"), help="The file to write. (model.yaml)"
    )
    parser.add_argument("--force", action="store_true", help="Overwrite the file if it is there.")


def init(path: Path, force: bool = False) -> None:
    """Write a commented probe file that runs as it stands, to start from.

    Raises:
        OutputExistsError: the file is there, and force was not given, or a folder is.
        PerftuneError: it cannot be written there.
    """
    # Not above: `perftune --help` does without pydantic.
    from perftune.spec import template

    try:
        taken = _taken(path, force)
        if taken is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(template(), encoding="utf-8")
    except OSError as error:
        raise PerftuneError(f"{path} cannot be written: {error.strerror}. Name another place.") from error
    if taken is not None:
        raise OutputExistsError(taken)
    say(
        f"Wrote {path}. It runs as it stands, on a tiny model and made-up data:\n\n    perftune probe {path}\n\n"
        "Then put your own model and data in, or your own code with `build: train.py:build`; the file says how."
    )


def _taken(path: Path, force: bool) -> str | None:
    if path.is_dir():
        return f"{path} is a folder; name the file to write, such as {path / 'model.yaml'}."
    if path.exists() and not force:
        return f"{path} is there already. Name another file, or overwrite it with --force."
    return None
