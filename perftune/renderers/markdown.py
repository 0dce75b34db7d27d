"""A study to ``report.md``: the summary, and every trial."""

from collections.abc import Iterable, Sequence

from perftune.records.recommendation import Decision
from perftune.records.study import Study
from perftune.renderers import text

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#~!&"})


def render(study: Study) -> str:
    """The report as GitHub-flavoured Markdown; nothing that a user named can become markup.

    Raises:
        ValueError: the study has no recommendation yet.
    """
    recommendation = text.recommended(study)
    tuned = recommendation.decision is Decision.TUNED
    figures = [row if tuned else row[:2] for row in text.before_and_after(study)]
    parts = [
        f"# {_escaped(study.probe.name)}",
        f"**{_escaped(text.verdict(study))}**",
        f"{_escaped(text.place(study))}. Probe {study.probe_sha256[:12]}, {_escaped(study.created)}.",
        _table(("", "yours", "tuned") if tuned else ("", "yours"), figures),
    ]
    if recommendation.lines:
        parts += ["## What changes, and what each line does"]
        rows = [(*text.line_cells(line), text.clean(line.reason)) for line in recommendation.lines]
        parts += [_table((*text.LINE_HEADER, "reason"), rows)]
    parts += ["## How sure this is", _list(text.certainty(study))]
    if recommendation.rejected:
        parts += ["## Not chosen", _table(("what", "why"), text.rejected(study))]
    if recommendation.notes:
        parts += ["## Notes", _list(text.notes(study))]
    if predicted := text.predicted_cells(study):
        parts += ["## Predicted and measured", _table(text.PREDICTED_HEADER, predicted)]
    parts += ["## Next", "```\n" + "\n".join(text.next_steps(study, "training_args.yaml")) + "\n```"]
    trials = [text.trial_cells(study, trial) for trial in study.trials]
    parts += ["## Trials", _table(text.TRIAL_HEADER, trials)]
    return "\n\n".join(parts) + "\n"


def _escaped(words: str) -> str:
    return text.clean(words).translate(_SPECIAL)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_escaped(line)}" for line in lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(_escaped(name) for name in header), " | ".join("---" for _ in header)]
    lines += [" | ".join(_escaped(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
