"""Published throughput of one GPU to the constants of time in `perftune/plan/calibration.py`.

python -m benchmarks.validation.fit --traces FOLDER

What is made small is the error of the logarithm of samples per second: robustly, since a row may be wrong; with as much
weight for one source as for another; and held near what is likely by physics, in units of how sure that is. No constant
belongs to a source, a model or a GPU. The figure to believe is the one for what was left out: a source or a generation
that the constants were not fitted to.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from benchmarks.validation.predict import gpu_of, grouped, has_flash, precision, traced
from benchmarks.validation.rows import Row, load_rows, usable
from benchmarks.validation.score import Errors, summary
from benchmarks.validation.tables import table
from perftune.catalogue import load_catalogue
from perftune.isolation.protocol import PRELOAD_TO_TRACE
from perftune.isolation.runner import ForkServerRunner
from perftune.plan.calibration import TimeConstants
from perftune.plan.estimate import Variant
from perftune.plan.roofline import MicroStep, Roofline, Seconds, micro_step, optimizer_step
from perftune.plan.tapes import Floats, Work
from perftune.records.gpu import Gpu

LARGE_ERROR = 0.05
"""Of a logarithm: up to here errors count by their square, beyond evenly."""
PRIOR_WEIGHT = 0.15
"""Of the mean square over priors, against the mean over sources."""
RELATIVE_STEP = 1e-3
MAX_EVALUATIONS = 60


class Prior(NamedTuple):
    """What is likely before any row is looked at."""

    value: float
    spread: float
    """One standard deviation of the logarithm."""


PRIORS: dict[str, Prior] = {
    "peak_part": Prior(0.85, 0.08),  # large products of cuBLAS at full clock
    "joules_per_flop": Prior(1.4e-12, 0.3),  # 400 W over 312 TFLOP/s of an A100 are 1.3 pJ
    "node_exponent": Prior(1.3, 0.05),  # 30 to 40 % less power from 7 to 5 nm, says the foundry
    "fp32_energy": Prior(5.0, 0.3),  # 300 W over 15.7 TFLOP/s of a V100, four times that of its fp16, and slower
    "other_watts": Prior(10.0, 0.5),  # of an idle board
    "attention_part": Prior(0.65, 0.15),  # FlashAttention-2: 50 to 73 % of the peak of an A100, products 80 to 90 %
    "bandwidth_part": Prior(0.85, 0.1),  # copies of large tensors
    "sm_bytes_per_second": Prior(60e9, 0.7),  # 32 KiB in flight over 0.55 µs
    "kernel_seconds": Prior(5e-6, 0.4),
    "tile_flops": Prior(4e6, 0.5),  # half a tile of 128 × 128 with 256 terms a sum
    "host_forward_seconds": Prior(40e-6, 0.3),
    "host_backward_seconds": Prior(12e-6, 0.3),
    "step_seconds": Prior(5e-3, 0.3),
}


class Observed(NamedTuple):
    """A row that tells its throughput: the work of a step, which no constant changes, and its speed."""

    id: str
    source: str
    gpu: Gpu
    precision: str
    micro_steps: tuple[tuple[MicroStep, int], ...]
    """With how often a step has them."""
    optimizer: Work
    num_samples: int
    """Of a step."""
    samples_per_second: float


Key = Callable[[Observed], str]


def source_of(one: Observed) -> str:
    """Who published it."""
    return one.source


def generation_of(one: Observed) -> str:
    """Of the GPU."""
    return one.gpu.architecture


def observed(row: Row, variant: Variant, gpu: Gpu) -> Observed:
    """The row with its work counted."""
    micro_batch, num_micro = row["micro_batch"], row["accumulation"] or 1
    tape = variant.tapes.at(micro_batch)
    steps = [(MicroStep(*(w.alike_once() for w in micro_step(tape, micro_batch, number))), number) for number in (0, 1)]
    published = row["throughput"]
    rate = published["value"] if published["unit"] == "samples_per_second" else published["value"] / row["seq_len"]
    return Observed(
        id=row["id"],
        source=row["source_key"],
        gpu=gpu,
        precision=precision(row),
        micro_steps=tuple((step, num_micro - 1 if number else 1) for step, number in steps),
        optimizer=optimizer_step(variant.optimizers[row["optimizer"]]).alike_once(),
        num_samples=micro_batch * num_micro,
        samples_per_second=rate,
    )


def predicted_rate(one: Observed, constants: TimeConstants) -> float:
    """Samples per second, as `perftune.plan.estimate` has them on one GPU."""
    roofline = Roofline(one.gpu, one.precision, constants)
    computing = Seconds(0.0, 0.0)
    for step, times in one.micro_steps:
        computing += (roofline.forward(step.forward) + roofline.backward(step.backward)).scaled(1.0, times)
    return one.num_samples / (computing.total + roofline.optimizer(one.optimizer).total)


def errors(rows: Sequence[Observed], constants: TimeConstants) -> list[float]:
    """Predicted over published less one, row by row."""
    return [predicted_rate(one, constants) / one.samples_per_second - 1 for one in rows]


def fit(rows: Sequence[Observed], priors: Mapping[str, Prior] = PRIORS) -> TimeConstants:
    """The constants that these rows and the priors make likeliest.

    Args:
        rows: at least one.
        priors: of every constant.
    """
    names = [field.name for field in fields(TimeConstants)]
    middle, spread = np.log([priors[name].value for name in names]), np.array([priors[name].spread for name in names])
    num_rows = Counter(map(source_of, rows))
    weights = np.array([1 / (num_rows[one.source] * len(num_rows)) for one in rows])

    def made(logs: Floats) -> TimeConstants:
        return TimeConstants(**dict(zip(names, map(float, np.exp(logs)), strict=True)))

    def residuals(logs: Floats) -> Floats:
        off = np.log1p(errors(rows, made(logs))) / LARGE_ERROR
        robust = np.sign(off) * np.sqrt(2 * weights * (np.sqrt(1 + off**2) - 1))
        return np.concatenate([robust, np.sqrt(PRIOR_WEIGHT / len(names)) * (logs - middle) / spread])

    return made(least_squares(residuals, middle, diff_step=RELATIVE_STEP, max_nfev=MAX_EVALUATIONS).x)


def with_and_without(rows: Sequence[Observed], key: Key) -> list[tuple[str, Errors, Errors]]:
    """Each source or generation, the errors of its rows when fitted to all, and when fitted to all others."""
    everywhere, found = fit(rows), []
    for name in sorted(set(map(key, rows))):
        mine, others = ([one for one in rows if (key(one) == name) is own] for own in (True, False))
        found.append((name, summary(errors(mine, everywhere)), summary(errors(mine, fit(others)))))
    return found


def report(rows: Sequence[Observed]) -> str:
    """The constants, and what they are worth, in Markdown."""
    found = fit(rows)
    constants = [
        [name, f"{getattr(found, name):.3g}", f"{prior.value:.3g} within {np.exp(prior.spread) - 1:.0%}"]
        for name, prior in PRIORS.items()
    ]
    parts = [table(["constant", "fitted", "likely before"], constants)]
    for what, key in (("source", source_of), ("generation", generation_of)):
        parts.append(table([f"{what} left out", "rows", "fitted with it", "without it"], _lines(rows, key)))
    return "\n\n".join(parts)


def _lines(rows: Sequence[Observed], key: Key) -> list[list[str]]:
    found = with_and_without(rows, key)
    lines = [[name, str(own.num), _said([own]), _said([without])] for name, own, without in found]
    return [*lines, ["mean", "", _said([own for _, own, _ in found]), _said([without for *_, without in found])]]


def _said(each: Sequence[Errors]) -> str:
    return f"{mean(one.median for one in each):.1%}, {mean(one.percentile_90 for one in each):.1%}"


def load(traces: Path) -> list[Observed]:
    """All usable rows that tell the throughput of one GPU."""
    catalogue, found = load_catalogue(), list[Observed]()
    with TemporaryDirectory() as folder, ForkServerRunner(Path(folder), preload=PRELOAD_TO_TRACE) as runner:
        for number, members in enumerate(grouped(filter(usable, load_rows()), catalogue)):
            wanted = [row for row in members if row["throughput"] is not None and row["num_gpus"] == 1]
            if wanted:
                gpu = gpu_of(members[0], catalogue)
                variant = traced(runner, members, has_flash(gpu, members[0]), number, traces)
                found += [observed(row, variant, gpu_of(row, catalogue)) for row in wanted]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, required=True, help="keep traces here, and take those that are there")
    print(report(load(parser.parse_args(arguments).traces)))


if __name__ == "__main__":
    main()
