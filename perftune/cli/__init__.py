"""Arguments of the command line to an exit code: the one place where perftune prints an error and ends."""

import contextlib
import os
import sys
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path

from perftune import __version__
from perftune.cli import gpus, init, plan, probe, schema
from perftune.cli.parser import Parser, whole_sentences
from perftune.cli.streams import make_writable, unread
from perftune.errors import Interrupted, PerftuneError
from perftune.printable import printable_lines

DEBUG = "PERFTUNE_DEBUG"

VERBS = (gpus, init, probe, plan, schema)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0, that of the PerftuneError, 2 for wrong options, 130 after Ctrl-C, 1 for what nobody foresaw.
    """
    make_writable()
    try:
        _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except SystemExit as end:  # argparse, after --help, --version and options that are wrong
        return end.code if isinstance(end.code, int) else 1
    except PerftuneError as error:
        return _failed(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _failed("interrupted", Interrupted.exit_code)
    except BrokenPipeError:
        unread()
        return 1
    except Exception as error:  # noqa: BLE001 (whatever it is, the user gets one line)
        return _unforeseen(error)
    return 0


def _run(arguments: Sequence[str]) -> None:
    parser = Parser(
        prog="perftune",
        description="Find the fastest TrainingArguments that fit, by measuring your own Trainer on the device at hand.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"perftune {__version__}", help="Print the version.")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND")
    for verb in VERBS:
        verb.declare(verbs.add_parser)
    if not arguments:
        parser.print_help(sys.stderr)
        parser.exit(2)
    if arguments[0] not in verbs.choices:
        parser.parse_args(arguments)  # --help, --version and most of what is no command end here
        parser.error(f"{arguments[0]} is no command")
    own = verbs.choices[arguments[0]]
    # Intermixed: `gpus t4 --json l4` is both of them. A parser of verbs cannot do that, so the verb's own is asked.
    options = vars(own.parse_intermixed_args(arguments[1:]))
    try:
        options.pop("run")(**options)
    except ArgumentError as error:
        own.error(str(error))


def _failed(message: str, exit_code: int) -> int:
    if os.environ.get(DEBUG) == "1":
        import traceback

        message = f"{message}\n{traceback.format_exc()}"
    with contextlib.suppress(OSError):  # nobody is there to be told
        print(printable_lines(f"perftune: {whole_sentences(message)}"), file=sys.stderr, flush=True)
    return exit_code


def _unforeseen(error: Exception) -> int:
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if os.environ.get(DEBUG) == "1":
        return _failed(said, PerftuneError.exit_code)
    # Not above: `perftune --help` does without them.
    import tempfile
    import traceback

    descriptor, name = tempfile.mkstemp(prefix="perftune-", suffix=".log", text=True)
    os.close(descriptor)
    Path(name).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return _failed(f"{said}. This is a defect of perftune; the full traceback is in {name}.", PerftuneError.exit_code)
