"""Scenarios to the tables of benchmarks/decisions/README.md: `python -m benchmarks.decisions.simulate`."""

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.decisions.machine import GRID, Array, Machine
from benchmarks.decisions.studies import Told, coverage, pairs_until_told, race, series_coverage
from perftune.decisions import Answer

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
MOST_HEATS, MOST_PAIRS = 8, 24
Job = tuple[int, int]
"""Number of the scenario, and of studies."""


def equal_and_covered(job: Job) -> str:
    """One row of the first table: coverage, and false alarms where all contenders are equal."""
    number, num_studies = job
    machine = GRID[number]
    fixed = [coverage(machine, 2 * num_studies, 3, contenders, 100 + number) for contenders in (2, 4)]
    five = [race(machine, num_studies, MOST_HEATS, gains_of(0.05, k), 200 + number) for k in (1, 3)]
    equal = [race(machine, num_studies, MOST_HEATS, gains_of(0.0, k), 300 + number) for k in (1, 3, 8)]
    cells = [*map(per_cent, fixed), *(per_cent(covered(told)) for told in (*five, *equal))]
    cells += [f"{said(told, Answer.TUNED):.1%}".replace("%", " %") for told in equal]
    return row(f"{machine.spread:.0%}", machine.correlation, "half the time" if machine.bursts else "none", *cells)


GAINS = [
    (Machine(spread, 0.4, bursts), gain, k)
    for bursts in (False, True)
    for spread in (0.01, 0.03)
    for gain in (0.05, 0.1, 0.2)
    for k in (1, 3)
]


def told_of_gains(job: Job) -> str:
    """One row of the second table: what is said, and after how many heats, where there is a gain."""
    number, num_studies = job
    machine, gain, k = GAINS[number]
    told = race(machine, num_studies, MOST_HEATS, gains_of(gain, k), 400 + number)
    two = race(machine, num_studies, 2, gains_of(gain, k), 500 + number)
    heats = [one.num_heats if one.answer is Answer.TUNED else np.inf for one in told]
    found = pairs_until_told(machine, num_studies, MOST_PAIRS, float(np.log1p(gain)), 600 + number) if k == 1 else None
    pairs = [one or np.inf for one in found] if found else None
    return row(
        "half the time" if machine.bursts else "none",
        f"{machine.spread:.0%}",
        f"{gain:.0%}",
        k,
        *(per_cent(said(told, answer)) for answer in Answer),
        quantiles(heats, MOST_HEATS),
        quantiles(pairs, MOST_PAIRS) if pairs else "–",
        per_cent(float(np.mean([one <= 4 for one in pairs]))) if pairs else "–",
        *(per_cent(said(two, answer)) for answer in (Answer.TUNED, Answer.KEEP_YOURS)),
    )


SERIES = [(length, correlation) for length in (12, 24, 36, 60) for correlation in (0.0, 0.2, 0.4, 0.6, 0.8)]


def covered_series(job: Job) -> str:
    """One row of the third table: coverage of the mean of a series."""
    number, num_studies = job
    length, correlation = SERIES[number]
    once, naive = series_coverage(correlation, length, num_studies, 1, 700 + number)
    twice, _ = series_coverage(correlation, length, num_studies, 2, 800 + number)
    return row(length, correlation, *map(per_cent, (once, twice, naive)))


def gains_of(gain: float, num_challengers: int) -> Array:
    """Logs: one challenger with a gain, others without, the reference last."""
    return np.array([np.log1p(gain), *[0.0] * num_challengers])


def said(told: Sequence[Told], answer: Answer) -> float:
    """The share of studies with an answer."""
    return sum(one.answer is answer for one in told) / len(told)


def covered(told: Sequence[Told]) -> float:
    """The share of intervals, where one was printed, that hold the truth."""
    return float(np.mean([one.is_covered for one in told if one.is_covered is not None]))


def quantiles(counts: Sequence[float], most: int) -> str:
    """Median and 90 % quantile."""
    both = np.quantile(counts, (0.5, 0.9), method="higher")
    return ", ".join(f"{one:.0f}" if np.isfinite(one) else f"> {most}" for one in both)


def per_cent(share: float) -> str:
    """As it is printed in the tables."""
    return f"{100 * share:.1f}"


def row(*cells: object) -> str:
    """A line of a table in Markdown."""
    return "| " + " | ".join(map(str, cells)) + " |"


TABLES: list[tuple[str, Callable[[Job], str], int, list[str]]] = [
    (
        "Coverage of the printed 95 % interval, and \"tuned\" where all are equal (per cent)",
        equal_and_covered,
        len(GRID),
        ["process spread", "correlation", "bursts", "2 contenders, 3 heats", "4 contenders, 3 heats",
         "at the stop: 5 % gain, 1 challenger", "… best of 3", "all equal, 1 challenger", "… best of 3",
         "… best of 8", "\"tuned\": 1", "3", "8"],
    ),
    (
        "What is told of a gain (correlation 0.4; per cent of studies)",
        told_of_gains,
        len(GAINS),
        ["bursts", "process spread", "gain", "challengers", "tuned", "keep yours", "not decided",
         "heats until tuned: median, 90 %", "pairs of runs one after the other: median, 90 %", "told by 4 pairs",
         "only 2 heats: tuned", "keep yours"],
    ),
    (
        "Coverage of the 95 % interval of a series' mean (per cent)",
        covered_series,
        len(SERIES),
        ["values", "correlation", "one look", "two looks, both right", "t-interval as if independent"],
    ),
]  # fmt: skip


def table(number: int, num_studies: int, workers: int) -> str:
    """One of the tables, in Markdown."""
    title, line, num_rows, head = TABLES[number]
    with ProcessPoolExecutor(workers) as pool:
        lines = list(pool.map(line, [(scenario, num_studies) for scenario in range(num_rows)]))
    return "\n".join([f"### {title}", "", row(*head), row(*["---"] * len(head)), *lines])


def main() -> None:
    """Write the tables into the README, or print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--print", action="store_true", help="print, do not write the README")
    options = parser.parse_args()
    tables = "\n\n".join(table(number, options.studies, options.workers) for number in range(len(TABLES)))
    if options.print:
        print(tables)
        return
    text = README.read_text(encoding="utf-8")
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    README.write_text(f"{before}\n{tables}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
