"""A study to one HTML file that loads nothing from elsewhere and escapes everything."""

from html import escape

from perftune.records.study import Study
from perftune.renderers import content
from perftune.renderers.content import Table
from perftune.renderers.scatter import scatter

STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #888; --good: #178a3c; }
@media (prefers-color-scheme: dark) { :root { --good: #5fd38a; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.headline { font-size: 1.25rem; font-weight: 600; color: var(--good); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--dim); font-weight: 500; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td:last-child { overflow-wrap: anywhere; }
pre { border: 1px solid var(--line); padding: .8rem; overflow-x: auto; }
svg { width: 100%; height: auto; } svg text { fill: currentColor; font-size: 12px; }
"""


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    return (
        f"<h2>{escape(table.title)}</h2><div class=scroll><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def render(study: Study) -> str:
    """The whole report with a picture of all trials.

    Raises:
        ValueError: the study has no recommendation yet.
    """
    title = f"perftune: {study.probe.name}"
    facts = Table("What it rests on", ("", ""), tuple(content.facts(study)))
    tables = [content.before_and_after(study), content.tuned_lines(study), facts]
    body = [
        f"<h1>{escape(title)}</h1><p class=headline>{escape(content.headline(study))}</p>",
        *(_table(table) for table in tables if table.rows),
        "<h2>All trials: throughput against peak memory</h2>",
        scatter(study),
        f"<h2>How to use it</h2><pre>{escape(content.how_to_use())}</pre>",
        *(_table(table) for table in (content.rejected(study), content.trial_table(study)) if table.rows),
    ]
    return (
        f'<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )
