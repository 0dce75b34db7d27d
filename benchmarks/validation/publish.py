"""Predictions to the tables in README.md: what is between its markers is replaced.

python -m benchmarks.validation.publish --traces FOLDER
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.validation.goals import Goal, goals
from benchmarks.validation.predict import predict
from benchmarks.validation.rows import load_rows, usable
from benchmarks.validation.tables import markdown, table

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- written by benchmarks.validation.publish: begin -->", "<!-- end -->"


def goal_table(reached: Sequence[Goal]) -> str:
    """What is wanted, what is reached."""
    lines = [[goal.what, goal.wanted, goal.reached, "met" if goal.is_met else "falls short"] for goal in reached]
    return table(["goal", "wanted", "reached", ""], lines)


def written(text: str, between: str) -> str:
    """The text with something else between its markers.

    Raises:
        ValueError: it has no markers.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README.name} should have the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{between}\n\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Predict every row and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, required=True, help="keep traces here, and take those that are there")
    options = parser.parse_args(arguments)
    rows = load_rows()
    with TemporaryDirectory() as folder:
        found = predict([row for row in rows if usable(row)], Path(folder), options.traces)
    by_id = {predicted.id: predicted for predicted in found}
    between = "\n\n".join([goal_table(goals(rows, by_id)), markdown(rows, found)])
    README.write_text(written(README.read_text(), between))


if __name__ == "__main__":
    main()
