"""``perftune plan``: a probe file and names of GPUs to predicted memory, speed and cost, without any of them."""

import sys
from argparse import ArgumentError
from pathlib import Path

from perftune.cli.options import AddVerb, verb_parser, whole_number
from perftune.printable import ascii_json, printable

PIPE_WIDTH = 140
"""Columns of the tables in a log or a pipe."""


SHARDINGS = ("ddp", "zero1", "zero2", "zero3", "fsdp")
"""How several GPUs share a training."""


def declare(add_verb: AddVerb) -> None:
    """Add the verb to the command line."""
    text = "Predict peak memory, fit, speed and cost on GPUs that are not here."
    parser = verb_parser(add_verb, plan, "plan", text)
    add = parser.add_argument
    add("path", type=Path, metavar="MODEL.yaml", help="The probe file; `perftune init` writes one.")
    add(
        "--gpu", action="append", required=True, metavar="NAME",
        help="t4, h100-sxm, … as `perftune gpus` lists them, or all; may be given several times.",
    )  # fmt: skip
    add(
        "--count", type=whole_number, metavar="N",
        help="GPUs that train together; by default the probe's target.count.",
    )  # fmt: skip
    add("--sharding", choices=SHARDINGS, help="How they share it; ddp by default.")
    add("--price", type=Path, metavar="FILE", help="A YAML file: name of a GPU, price of an hour on it.")
    add(
        "--max-batch", action="store_true",
        help="The largest micro-batch for each combination of the other knobs.",
    )  # fmt: skip
    add("--catalogue", type=Path, metavar="FILE", help="A YAML file with GPUs of your own.")
    add("--rows", type=whole_number, default=10, metavar="N", help="Candidates to show. (%(default)s)")
    add("--json", dest="as_json", action="store_true", help="Print everything as one JSON object.")
    add("--quiet", action="store_true", help="Say nothing while it works.")


def plan(
    path: Path,
    gpu: list[str],
    count: int | None,
    sharding: str | None,
    price: Path | None,
    max_batch: bool,
    catalogue: Path | None,
    rows: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Predict, and show the best.

    Raises:
        ArgumentError: one GPU cannot be shared.
        DeviceError: a GPU is not known, or a file of GPUs or prices is wrong.
    """
    # Not above: `perftune --help` does without them.
    from perftune.catalogue import find_gpus, load_catalogue, load_prices
    from perftune.planning import TraceCache
    from perftune.planning import plan as make_plan
    from perftune.spec import load_probe

    known = load_catalogue(catalogue)
    gpus = find_gpus(gpu, known)
    prices = load_prices(price, known) if price else None
    probe = load_probe(path)
    if sharding is not None and (count or probe.target.count) == 1:
        raise ArgumentError(None, "--sharding takes at least two GPUs; add --count")
    made = make_plan(
        probe,
        gpus,
        num_devices=count,
        sharding=sharding,
        prices=prices,
        max_batch=max_batch,
        on_phase=_silent if quiet or as_json else _say,
        cache=TraceCache.of_user(),
    )
    if as_json:
        print(ascii_json(made.model_dump_json(indent=2)))
    else:
        from perftune.cli.console import show
        from perftune.reports import plan_document, terminal

        show(terminal.render(plan_document(made, num_rows=rows)), PIPE_WIDTH)


def _silent(_: str) -> None:
    pass


def _say(words: str) -> None:
    print(printable(words), file=sys.stderr)
