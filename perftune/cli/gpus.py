"""``perftune gpus``: the GPUs that perftune knows by name, and where each of their numbers is from."""

from pathlib import Path
from typing import TYPE_CHECKING

from perftune.cli.options import AddVerb, verb_parser
from perftune.printable import ascii_json, printable_lines
from perftune.units import format_bytes

if TYPE_CHECKING:
    from perftune.records.gpu import Gpu

COLUMNS = ("fp32", "tf32", "fp16", "bf16")
"""The peaks that the table shows; the others are with the numbers of one GPU."""
HEADINGS = ("name", "memory GiB", "GB/s", *COLUMNS, "link")
UNKNOWN = "–"


def declare(add_verb: AddVerb) -> None:
    """Add the verb to the command line."""
    text = "List the GPUs that perftune knows by name: what they can do at most, as their makers say."
    parser = verb_parser(add_verb, gpus, "gpus", text)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="Show every number of these, and its source: t4, h100-sxm, … or all."
    )
    parser.add_argument(
        "--catalogue", type=Path, metavar="FILE",
        help="A YAML file with GPUs of your own, of the form of perftune/catalogue/gpus.yaml.",
    )  # fmt: skip
    parser.add_argument(
        "--json", dest="as_json", action="store_true", help="Print JSON: a list of GPUs, everything about each."
    )


def gpus(names: list[str], catalogue: Path | None, as_json: bool) -> None:
    """List them, or say all about those that are named.

    Raises:
        DeviceError: a name is not known or not clear, or the file is wrong.
    """
    # Not above: `perftune --help` does without them.
    import json

    from perftune.catalogue import ALL, find_gpus, load_catalogue

    known = load_catalogue(catalogue)
    chosen = find_gpus(names or [ALL], known)
    if as_json:
        print(ascii_json(json.dumps([gpu.model_dump(mode="json") for gpu in chosen], indent=2)))
    elif names:
        print(printable_lines("\n\n".join(_described(gpu) for gpu in chosen)))
    else:
        print(printable_lines(_table(chosen)))


def _table(chosen: "list[Gpu]") -> str:
    rows = [HEADINGS, *(_row(gpu) for gpu in chosen)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    return "\n".join(
        [*lines, "", "Peaks are dense TFLOP/s. `perftune gpus NAME` shows every number of a GPU and where it is from."]
    )


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Texts to the left, numbers to the right."""
    texts = {0, len(row) - 1}
    return [
        cell.ljust(width) if column in texts else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _row(gpu: "Gpu") -> tuple[str, ...]:
    peaks = [gpu.peak(dtype) for dtype in COLUMNS]
    return (
        gpu.name,
        f"{gpu.memory_bytes / 2**30:.1f}",
        f"{gpu.memory_bandwidth_bytes_per_second / 1e9:,.0f}",
        *(UNKNOWN if peak is None else f"{peak / 1e12:,.1f}" for peak in peaks),
        UNKNOWN if gpu.link is None else gpu.link.name,
    )


def _described(gpu: "Gpu") -> str:
    """Every number with the number of its source, then the sources."""
    sources = list(dict.fromkeys(str(gpu.source(number)) for number in gpu.numbers()))
    said = [(*_said(gpu, number), sources.index(str(gpu.source(number))) + 1) for number in gpu.numbers()]
    wide, wider = (max(len(str(line[column])) for line in said) for column in (0, 1))
    return "\n".join(
        [
            f"{gpu.name}: {gpu.title}, {gpu.architecture}",
            *(f"  {label:<{wide}}  {value:>{wider}}  [{source}]" for label, value, source in said),
            *(f"  [{number}] {source}" for number, source in enumerate(sources, start=1)),
        ]
    )


def _said(gpu: "Gpu", number: str) -> tuple[str, str]:
    """A number's label and its value with the unit."""
    field, _, dtype = number.partition(".")
    if field == "peak_flops":
        return f"{dtype} dense", f"{gpu.peak_flops[dtype] / 1e12:,.1f} TFLOP/s"
    if field == "link" and gpu.link is not None:
        return f"{gpu.link.name}, one way", f"{gpu.link.bytes_per_second / 1e9:,.1f} GB/s"
    if field == "compute_capability" and gpu.compute_capability is not None:
        return "compute capability", ".".join(str(part) for part in gpu.compute_capability)
    return {
        "num_sms": ("compute units" if gpu.compute_capability is None else "SMs", f"{gpu.num_sms}"),
        "memory_bytes": ("memory", format_bytes(gpu.memory_bytes)),
        "memory_bandwidth_bytes_per_second": (
            "memory bandwidth",
            f"{gpu.memory_bandwidth_bytes_per_second / 1e9:,.0f} GB/s",
        ),
        "tdp_watts": ("board power", f"{gpu.tdp_watts} W"),
    }[field]
