"""The trials of a study to tables and a drawing: every trial, predictions beside measurements, speed against memory."""

from perftune.records.prediction_error import predicted_and_measured
from perftune.records.recommendation import Decision
from perftune.records.study import Study
from perftune.records.summary import samples_per_second, step_interval
from perftune.records.trial import Outcome, Purpose, Trial
from perftune.reports.document import Cell, Column, Kind, Mark, Point, Scatter, Table
from perftune.reports.words import MISSING, bytes_cell, cells, clean, rate_cell, seconds_cell, settings

DRAWN = (Purpose.SEARCH, Purpose.RACE, Purpose.ABLATION)
TRIAL_COLUMNS = (
    Column("#", Kind.NUMBER),
    Column("purpose", Kind.NAME),
    Column("settings"),
    Column("outcome"),
    *(Column(name, Kind.NUMBER) for name in ("samples/s", "step", "peak memory", "took")),
)
PREDICTED_COLUMNS = (
    Column("settings"),
    *(
        Column(name, Kind.NUMBER)
        for name in (
            "predicted memory", "measured memory", "memory error", "predicted step", "measured step", "step error"
        )
    ),
)  # fmt: skip


def trial_table(study: Study) -> Table:
    """Every trial, in order."""
    return Table(TRIAL_COLUMNS, tuple(_row(study, trial) for trial in study.trials))


def _row(study: Study, trial: Trial) -> tuple[Cell, ...]:
    measurement, failure = trial.measurement, trial.failure
    if measurement is None:
        figures = (*cells(MISSING, MISSING), bytes_cell(failure.peak_bytes if failure else None))
    else:
        figures = (
            rate_cell(samples_per_second(measurement)),
            seconds_cell(step_interval(measurement).value),
            bytes_cell(measurement.memory.peak_bytes),
        )
    said = trial.outcome.value.replace("_", " ") + (f": {clean(failure.message)}" if failure else "")
    return (
        Cell(str(trial.number), trial.number),
        *cells(trial.purpose.value, settings(trial.candidate, study.space.base), said),
        *figures,
        seconds_cell(trial.wall_seconds),
    )


def predicted_table(study: Study) -> Table | None:
    """Every candidate that was predicted and measured; None where none was."""
    rows = [
        (
            Cell(settings(one.candidate, study.space.base)),
            bytes_cell(one.predicted_bytes),
            bytes_cell(one.measured_bytes),
            _error(one.memory_error),
            seconds_cell(one.predicted_seconds),
            seconds_cell(one.measured_seconds),
            _error(one.time_error),
        )
        for one in predicted_and_measured(study)
    ]
    return Table(PREDICTED_COLUMNS, tuple(rows)) if rows else None


def _error(error: float | None) -> Cell:
    return Cell(MISSING) if error is None else Cell(f"{error * 100:+.0f} %", error)


def scatter(study: Study) -> Scatter:
    """Completed trials, and failed ones whose peak is known; out of memory without a figure lies at the limit."""
    limit_bytes = study.space.memory_limit_bytes
    points = []
    for trial in study.trials:
        label = ", ".join(cell.text for cell in _row(study, trial))
        if trial.measurement is not None and trial.purpose in DRAWN:
            rate, peak_bytes = samples_per_second(trial.measurement), trial.measurement.memory.peak_bytes
            points.append(Point(peak_bytes, rate, _mark(study, trial), label))
        elif trial.failure is not None and (trial.failure.peak_bytes or trial.outcome is Outcome.OUT_OF_MEMORY):
            points.append(Point(trial.failure.peak_bytes or limit_bytes, None, Mark.FAILED, label))
    return Scatter(tuple(points), limit_bytes)


def _mark(study: Study, trial: Trial) -> Mark:
    if trial.candidate == study.space.base:
        return Mark.YOURS
    recommendation = study.recommendation
    if recommendation is None:
        return Mark.MEASURED
    if recommendation.decision is Decision.NOT_DECIDED:
        return Mark.BEST_SO_FAR if trial.candidate == recommendation.best_so_far else Mark.MEASURED
    return Mark.CHOSEN if trial.candidate == recommendation.candidate else Mark.MEASURED
