"""A study with its recommendation to the document that every renderer walks."""

import shlex
from pathlib import Path

from perftune.records.recommendation import Decision, Recommendation, Summary, TunedLine
from perftune.records.study import Study
from perftune.records.summary import summarize
from perftune.reports.certainty import certainty
from perftune.reports.document import (
    EVERYWHERE,
    REPORT_ONLY,
    SUMMARY_ONLY,
    Block,
    Bullet,
    Bullets,
    Cell,
    Code,
    Column,
    Document,
    Kind,
    Paragraph,
    Section,
    Table,
    Tone,
)
from perftune.reports.loading import load_lines
from perftune.reports.rejected import rejected_bullets
from perftune.reports.trials import DRAWN, predicted_table, scatter, trial_table
from perftune.reports.verdict import recommended, verdict
from perftune.reports.words import (
    MISSING,
    bytes_cell,
    clean,
    cost_cell,
    interval,
    rate_cell,
    seconds_cell,
    signed_bytes_cell,
    value,
)

ARGUMENTS = "training_args.yaml"
LINE_COLUMNS = (
    *(Column(name, Kind.NAME) for name in ("argument", "value", "yours", "speed with it", "memory with it")),
    Column("reason", shapes=REPORT_ONLY),
)


def study_document(study: Study, directory: Path | None = None) -> Document:
    """Before and after, each tuned line with its effect, how sure it is, what was rejected, every trial.

    Args:
        study: with a recommendation.
        directory: where its files are, as the user would type it; for the summary, which is not read from there.

    Raises:
        ValueError: the study has no recommendation yet.
    """
    recommendation = recommended(study)
    rejected = rejected_bullets(recommendation)
    notes = tuple(Bullet(clean(note)) for note in recommendation.notes)
    sections = [
        Section("", (*_lead(study), _figures(study, recommendation))),
        *([_lines(recommendation)] if recommendation.lines else []),
        Section("How sure this is", (Bullets(tuple(certainty(study))),)),
        Section("Speed against memory", (scatter(study),), REPORT_ONLY),
        *([Section("Not chosen", (Bullets(rejected),))] if rejected else []),
        *([Section("Notes", (Bullets(notes),))] if notes else []),
        *_predicted(study),
        Section("Next", _next(study, recommendation, directory)),
        Section(f"All {len(study.trials)} trials", (trial_table(study),), REPORT_ONLY),
    ]
    return Document(clean(study.probe.name), tuple(sections), title_shapes=REPORT_ONLY)


def _lead(study: Study) -> tuple[Paragraph, ...]:
    name, where = clean(study.probe.name), _place(study)
    return (
        Paragraph(verdict(study), Tone(recommended(study).decision.value)),
        Paragraph(f"{name} on {where}", Tone.QUIET, SUMMARY_ONLY),
        Paragraph(f"{where}. Probe {study.probe_sha256[:12]}, {clean(study.created)}.", Tone.QUIET, REPORT_ONLY),
    )


def _place(study: Study) -> str:
    """Device and software in a line."""
    device, versions = study.survey.device, study.survey.versions
    packages = [f"{name} {versions.packages[name]}" for name in ("torch", "transformers") if name in versions.packages]
    cores = f", {device.num_cores} cores" if device.kind == "cpu" and device.num_cores else ""
    driver = f", driver {device.driver}" if device.driver else ""
    return clean(f"{device.name}{cores}{driver}, {', '.join(packages)}")


def _figures(study: Study, recommendation: Recommendation) -> Table:
    """The user's own, and beside them what was found, if anything was."""
    columns = {"yours": recommendation.before}
    if recommendation.decision is Decision.TUNED:
        columns["tuned"] = recommendation.after
    elif (best := _best_so_far(study, recommendation)) is not None:
        columns["best so far"] = best
    figures = [_cells(summary) for summary in columns.values()]
    names = [name for name in figures[0] if study.probe.target.price_per_hour or not name.startswith("cost")]
    return Table(
        (Column("", Kind.NAME), *(Column(name, Kind.NUMBER, is_strong=name != "yours") for name in columns)),
        tuple((Cell(name), *(each[name] for each in figures)) for name in names),
    )


def _best_so_far(study: Study, recommendation: Recommendation) -> Summary | None:
    best = recommendation.best_so_far
    if recommendation.decision is not Decision.NOT_DECIDED or best is None:
        return None
    trials = [trial for trial in study.of(best) if trial.purpose in DRAWN and trial.measurement is not None]
    return summarize(trials, study.probe.target.price_per_hour) if trials else None


def _cells(summary: Summary) -> dict[str, Cell]:
    return {
        "samples/s": rate_cell(summary.samples_per_second),
        "tokens/s, no padding": rate_cell(summary.tokens_per_second),
        "time of a step": seconds_cell(summary.step_seconds),
        "peak memory": bytes_cell(summary.peak_memory_bytes),
        "cost of a million samples": cost_cell(summary.cost_per_million_samples),
    }


def _lines(recommendation: Recommendation) -> Section:
    """In the summary a reason is left out where it says in words what the row shows."""
    rows = tuple(_line(line) for line in recommendation.lines)
    reasons = tuple(
        Bullet(clean(line.reason), clean(line.field)) for line in recommendation.lines if line.speedup is None
    )
    blocks = (Table(LINE_COLUMNS, rows), Bullets(reasons, SUMMARY_ONLY))
    return Section("What changes, and what each line does", blocks if reasons else blocks[:1])


def _line(line: TunedLine) -> tuple[Cell, ...]:
    effect = Cell(MISSING) if line.speedup is None else Cell(interval(line.speedup), line.speedup.value)
    return (
        Cell(clean(line.field)),
        Cell(value(line.value)),
        Cell(value(line.user_value)),
        effect,
        signed_bytes_cell(line.memory_bytes),
        Cell(clean(line.reason)),
    )


def _predicted(study: Study) -> list[Section]:
    table = predicted_table(study)
    return [] if table is None else [Section("Predicted and measured", (table,), REPORT_ONLY)]


def _next(study: Study, recommendation: Recommendation, directory: Path | None) -> tuple[Block, ...]:
    """Code that puts the answer to use; a report lies beside the file that it loads."""
    beside = _code(study, recommendation, ARGUMENTS)
    if directory is None:
        return (Code(beside, EVERYWHERE),)
    measured = f"Everything that was measured: {clean(directory)}/report.html, report.md, study.json"
    return (
        Code(_code(study, recommendation, str(directory / ARGUMENTS)), SUMMARY_ONLY),
        Code(beside, REPORT_ONLY),
        Paragraph(measured, Tone.QUIET, SUMMARY_ONLY),
    )


def _code(study: Study, recommendation: Recommendation, path: str) -> tuple[str, ...]:
    lines = [f"export {name}={shlex.quote(clean(text))}" for name, text in recommendation.environment.items()]
    lines += [clean(line) for line in load_lines(study.survey, repr(clean(path)))]
    if recommendation.attn_implementation is not None:
        name = clean(recommendation.attn_implementation)
        lines.append(f"model = AutoModel….from_pretrained(…, attn_implementation={name!r})")
    return tuple(lines)
