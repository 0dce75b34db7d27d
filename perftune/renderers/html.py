"""A study to ``report.html``: one file that needs nothing else, with every trial drawn."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from perftune.records.recommendation import Decision
from perftune.records.study import Study
from perftune.renderers import scatter, text

NUMBERS = {"samples/s", "step", "peak memory", "took", "yours", "tuned", "#"} | set(text.PREDICTED_HEADER[1:])
UNBROKEN = {"argument", "value", "your value", "speed with it", "memory with it", "purpose"}


def render(study: Study) -> str:
    """The report as HTML; everything that a user or a library named is escaped.

    Raises:
        ValueError: the study has no recommendation yet.
    """
    name = escape(text.clean(study.probe.name))
    style = files("perftune.renderers").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name} – perftune</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"{_body(study, name)}\n</main>\n</body>\n</html>\n"
    )


def _body(study: Study, name: str) -> str:
    recommendation = text.recommended(study)
    tuned = recommendation.decision is Decision.TUNED
    figures = [row if tuned else row[:2] for row in text.before_and_after(study)]
    parts = [
        f"<h1>{name}</h1>",
        f'<p class="verdict {recommendation.decision.value}">{escape(text.verdict(study))}</p>',
        f'<p class="quiet">{escape(text.place(study))}. {escape(text.clean(study.created))}</p>',
        _table(("", "yours", "tuned") if tuned else ("", "yours"), figures),
    ]
    if recommendation.lines:
        rows = [(*text.line_cells(line), text.clean(line.reason)) for line in recommendation.lines]
        parts += ["<h2>What changes, and what each line does</h2>"]
        parts += [_table((*text.LINE_HEADER[:2], "your value", *text.LINE_HEADER[3:], "reason"), rows)]
    parts += ["<h2>How sure this is</h2>", _list(text.certainty(study))]
    parts += ["<h2>Speed against memory</h2>", scatter.svg(study)]
    if recommendation.rejected:
        parts += ["<h2>Not chosen</h2>", _table(("what", "why"), text.rejected(study))]
    if recommendation.notes:
        parts += ["<h2>Notes</h2>", _list(text.notes(study))]
    if predicted := text.predicted_cells(study):
        parts += ["<h2>Predicted and measured</h2>", _table(text.PREDICTED_HEADER, predicted)]
    code = "\n".join(escape(line) for line in text.next_steps(study, "training_args.yaml"))
    parts += ["<h2>Next</h2>", f"<pre>{code}</pre>"]
    trials = [text.trial_cells(study, trial) for trial in study.trials]
    parts += [f"<h2>All {len(trials)} trials</h2>", _table(text.TRIAL_HEADER, trials)]
    return "\n".join(parts)


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    classes = [_class(name) for name in header]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(classes, header, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{escape(cell)}</td>' for kind, cell in zip(classes, row, strict=True))}</tr>\n"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _class(name: str) -> str:
    if name in NUMBERS:
        return ' class="number"'
    return ' class="unbroken"' if name in UNBROKEN else ""
