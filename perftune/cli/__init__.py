"""Arguments of the command line to an exit code: the one place where perftune prints an error and ends."""

import os
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from perftune import __version__
from perftune.cli.gpus import gpus
from perftune.cli.init import init
from perftune.cli.plan import plan
from perftune.cli.probe import probe
from perftune.cli.schema import schema
from perftune.errors import Interrupted, PerftuneError

DEBUG = "PERFTUNE_DEBUG"

app = typer.Typer(
    name="perftune",
    help="Find the fastest TrainingArguments that fit, by measuring your own Trainer on the device at hand.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(gpus)
app.command()(init)
app.command()(probe)
app.command()(plan)
app.command()(schema)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"perftune {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find the fastest TrainingArguments that fit, by measuring your own Trainer on the device at hand."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0, that of the PerftuneError, 130 after Ctrl-C, or 1 for what nobody foresaw.
    """
    try:
        # Wrong options and --help are shown by typer itself, which then exits.
        app(args=arguments, prog_name="perftune")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except PerftuneError as error:
        return _failed(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _failed("interrupted", Interrupted.exit_code)
    except Exception as error:  # noqa: BLE001 (whatever it is, the user gets one line)
        return _unforeseen(error)
    return 0


def _failed(message: str, exit_code: int) -> int:
    if os.environ.get(DEBUG) == "1":
        traceback.print_exc()
    typer.echo(f"perftune: {message}", err=True)
    return exit_code


def _unforeseen(error: Exception) -> int:
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if os.environ.get(DEBUG) == "1":
        return _failed(said, PerftuneError.exit_code)
    descriptor, name = tempfile.mkstemp(prefix="perftune-", suffix=".log", text=True)
    os.close(descriptor)
    Path(name).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return _failed(f"{said}. This is a defect of perftune; the full traceback is in {name}.", PerftuneError.exit_code)
