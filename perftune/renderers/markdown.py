"""A study to a Markdown report."""

import re

from perftune.records.study import Study
from perftune.renderers import content
from perftune.renderers.content import Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|])")


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _table(table: Table) -> list[str]:
    lines = [f"## {escape(table.title)}", "", f"| {' | '.join(map(escape, table.columns))} |"]
    lines.append(f"|{'---|' * len(table.columns)}")
    lines += [f"| {' | '.join(map(escape, row))} |" for row in table.rows]
    return [*lines, ""]


def render(study: Study) -> str:
    """The whole report: the answer, its reasons, and every trial.

    Raises:
        ValueError: the study has no recommendation yet.
    """
    lines = [f"# perftune: {escape(study.probe.name)}", "", f"**{escape(content.headline(study))}**", ""]
    for table in (content.before_and_after(study), content.tuned_lines(study)):
        if table.rows:
            lines += _table(table)
    lines += ["## What it rests on", ""]
    lines += [f"- **{escape(name)}**: {escape(value)}" for name, value in content.facts(study)]
    lines += ["", "## How to use it", "", "```python", content.how_to_use(), "```", ""]
    for table in (content.rejected(study), content.trial_table(study)):
        if table.rows:
            lines += _table(table)
    return "\n".join(lines)
