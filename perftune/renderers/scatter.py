"""The completed trials of a study to an inline SVG: samples per second against peak memory, with the limit."""

from html import escape
from typing import NamedTuple

from perftune.records.study import Study
from perftune.records.summary import samples_per_second
from perftune.records.trial import Trial
from perftune.renderers.content import changes
from perftune.units import format_bytes, format_rate

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 900, 380, 70, 45, 20, 20
NUM_TICKS = 5


class Axis(NamedTuple):
    """A linear scale from values to pixels."""

    most: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (self.end - self.start) * value / self.most


def scatter(study: Study) -> str:
    """A point for each completed trial; the limit as a line when it is near enough to be in the picture."""
    trials = study.completed()
    if not trials:
        return "<p>No trial completed.</p>"
    peaks = [t.measurement.memory.peak_bytes for t in trials if t.measurement]
    rates = [samples_per_second(t.measurement) for t in trials if t.measurement]
    limit = study.space.usable_memory_bytes
    most = max(*peaks, limit) if limit < 4 * max(peaks) else max(peaks)
    x = Axis(most * 1.05, LEFT, WIDTH - RIGHT)
    y = Axis(max(rates) * 1.1, HEIGHT - BOTTOM, TOP)
    parts = [*_axes(x, y)]
    if limit <= x.most:
        parts.append(
            f'<line x1="{x.at(limit):.1f}" x2="{x.at(limit):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#d33" '
            f'stroke-dasharray="4"/><text x="{x.at(limit) - 6:.1f}" y="{TOP + 12}" text-anchor="end">'
            f"limit less headroom</text>"
        )
    chosen = study.recommendation.candidate.key if study.recommendation else ""
    parts += [_point(study, trial, x, y, chosen) for trial in trials]
    key = _legend()
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="trials">{"".join(parts)}{key}</svg>'


def _axes(x: Axis, y: Axis) -> list[str]:
    parts = []
    for number in range(NUM_TICKS + 1):
        value_x, value_y = x.most * number / NUM_TICKS, y.most * number / NUM_TICKS
        parts.append(
            f'<text x="{x.at(value_x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
            f"{escape(format_bytes(value_x))}</text>"
            f'<text x="{LEFT - 8}" y="{y.at(value_y) + 4:.1f}" text-anchor="end">{value_y:.0f}</text>'
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(value_y):.1f}" y2="{y.at(value_y):.1f}" stroke="#8883"/>'
        )
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">peak memory</text>')
    parts.append(f'<text x="6" y="{TOP - 6}">samples/s</text>')
    return parts


def _colour(study: Study, trial: Trial, chosen: str) -> str:
    if trial.candidate.key == chosen:
        return "#178a3c"
    return "#e08a00" if trial.candidate.key == study.space.base.key else "#5577bb"


def _point(study: Study, trial: Trial, x: Axis, y: Axis, chosen: str) -> str:
    assert trial.measurement is not None
    rate, peak = samples_per_second(trial.measurement), trial.measurement.memory.peak_bytes
    said = f"trial {trial.number}: {format_rate(rate, 'samples')}, {format_bytes(peak)}; "
    said += changes(trial.candidate, study.space.base)
    return (
        f'<circle cx="{x.at(peak):.1f}" cy="{y.at(rate):.1f}" r="5" fill="{_colour(study, trial, chosen)}" '
        f'fill-opacity=".75"><title>{escape(said)}</title></circle>'
    )


def _legend() -> str:
    entries = (("#178a3c", "recommended"), ("#e08a00", "yours"), ("#5577bb", "others"))
    return "".join(
        f'<circle cx="{LEFT + 16 + 130 * number}" cy="{HEIGHT - 10}" r="5" fill="{colour}"/>'
        f'<text x="{LEFT + 26 + 130 * number}" y="{HEIGHT - 6}">{name}</text>'
        for number, (colour, name) in enumerate(entries)
    )
