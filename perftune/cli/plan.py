"""``perftune plan``: a probe file and names of GPUs to predicted memory, speed and cost, without any of them."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from perftune.cli.console import show

PIPE_WIDTH = 140
"""Columns of the tables in a log or a pipe."""


class ShardingName(str, Enum):
    """How several GPUs share a training."""

    DDP = "ddp"
    ZERO1 = "zero1"
    ZERO2 = "zero2"
    ZERO3 = "zero3"
    FSDP = "fsdp"


def plan(
    path: Annotated[Path, typer.Argument(metavar="MODEL.yaml", help="The probe file; `perftune init` writes one.")],
    gpu: Annotated[list[str], typer.Option("--gpu", help="t4, h100-sxm, … as `perftune gpus` lists them, or all.")],
    count: Annotated[
        int | None, typer.Option(min=1, help="GPUs that train together; by default the probe's target.count.")
    ] = None,
    sharding: Annotated[ShardingName | None, typer.Option(help="How they share it; ddp by default.")] = None,
    price: Annotated[Path | None, typer.Option(help="A YAML file: name of a GPU, price of an hour on it.")] = None,
    max_batch: Annotated[
        bool, typer.Option("--max-batch", help="The largest micro-batch for each combination of the other knobs.")
    ] = False,
    catalogue: Annotated[Path | None, typer.Option(help="A YAML file with GPUs of your own.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Candidates to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing while it works.")] = False,
) -> None:
    """Predict peak memory, fit, speed and cost on GPUs that are not here.

    Raises:
        DeviceError: a GPU is not known, or a file of GPUs or prices is wrong.
    """
    # Not above: `perftune --help` does without pydantic.
    from perftune.catalogue import find_gpus, load_catalogue, load_prices
    from perftune.planning import TraceCache
    from perftune.planning import plan as make_plan
    from perftune.spec import load_probe

    known = load_catalogue(catalogue)
    gpus = find_gpus(gpu, known)
    prices = load_prices(price, known) if price else None
    probe = load_probe(path)
    if sharding is not None and (count or probe.target.count) == 1:
        raise typer.BadParameter("takes at least two GPUs; add --count.", param_hint="--sharding")
    made = make_plan(
        probe,
        gpus,
        num_devices=count,
        sharding=sharding.value if sharding else None,
        prices=prices,
        max_batch=max_batch,
        on_phase=_silent if quiet or as_json else _say,
        cache=TraceCache.of_user(),
    )
    if as_json:
        typer.echo(made.model_dump_json(indent=2))
    else:
        from perftune.renderers import plan_terminal

        show(plan_terminal.summary(made, num_rows=rows), PIPE_WIDTH)


def _silent(_: str) -> None:
    pass


def _say(words: str) -> None:
    typer.echo(words, err=True)
