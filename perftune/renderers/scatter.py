"""Trials to an SVG drawing of throughput against peak memory, with the limit as a line."""

import math
from html import escape

from perftune.records.study import Study
from perftune.records.summary import samples_per_second
from perftune.records.trial import Outcome, Purpose, Trial
from perftune.renderers import text
from perftune.units import format_bytes

WIDTH, HEIGHT = 860, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 34, 44
NUM_TICKS = 5
SHOWN = (Purpose.SEARCH, Purpose.RACE, Purpose.ABLATION)


def svg(study: Study) -> str:
    """Completed trials as dots, the user's own and the chosen marked; on the floor, failed ones whose peak is known.

    Out of memory without a figure is drawn at the limit.
    """
    done = [trial for trial in study.completed(*SHOWN) if trial.measurement is not None]
    failed = [t for t in study.trials if t.failure and (t.failure.peak_bytes or t.outcome is Outcome.OUT_OF_MEMORY)]
    peaks = [trial.measurement.memory.peak_bytes for trial in done if trial.measurement is not None]
    limit_bytes = study.space.memory_limit_bytes
    # A limit far above everything would press the dots into a corner: then it is only named.
    limit_shown = not peaks or limit_bytes <= 4 * max(peaks)
    most_bytes = _above(max([*peaks, limit_bytes if limit_shown else 0]))
    most_rate = _above(max((samples_per_second(t.measurement) for t in done if t.measurement), default=1.0))
    parts = [*_axes(most_bytes, most_rate), _limit(limit_bytes, most_bytes, limit_shown)]
    parts += [_failure(study, trial, most_bytes, limit_bytes) for trial in failed]
    parts += [_dot(study, trial, most_bytes, most_rate) for trial in done]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="samples per second against peak memory">\n'
        + "\n".join([*parts, *_legend(bool(failed))])
        + "\n</svg>"
    )


def _above(largest: float) -> float:
    return largest * 1.06 if largest > 0 else 1.0


def _x(num_bytes: float, most_bytes: float) -> float:
    return LEFT + min(num_bytes / most_bytes, 1) * (WIDTH - LEFT - RIGHT)


def _y(rate: float, most_rate: float) -> float:
    return HEIGHT - BOTTOM - rate / most_rate * (HEIGHT - TOP - BOTTOM)


def _ticks(most: float) -> list[float]:
    rough = most / NUM_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * step for number in range(int(most / step) + 1)]


def _axes(most_bytes: float, most_rate: float) -> list[str]:
    floor = HEIGHT - BOTTOM
    unit, name = (2**30, "GiB") if most_bytes >= 2**30 else (2**20, "MiB")
    parts = [f'<line class="axis" x1="{LEFT}" y1="{floor}" x2="{WIDTH - RIGHT}" y2="{floor}"/>']
    for tick in _ticks(most_rate):
        y = _y(tick, most_rate)
        parts.append(f'<line class="axis" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:,.4g}</text>')
    for tick in _ticks(most_bytes / unit):
        x = _x(tick * unit, most_bytes)
        parts.append(f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{tick:.4g}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">peak memory, {name}</text>')
    parts.append(f'<text x="{LEFT - 60}" y="14">samples/s</text>')
    return parts


def _limit(limit_bytes: int, most_bytes: float, shown: bool) -> str:
    said = f"limit {format_bytes(limit_bytes)}"
    if not shown:
        return f'<text x="{WIDTH - RIGHT}" y="{TOP + 12}" text-anchor="end">{said}, beyond this axis</text>'
    x = _x(limit_bytes, most_bytes)
    return (
        f'<line class="limit" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text x="{x - 6:.1f}" y="{TOP + 12}" text-anchor="end">{said}</text>'
    )


def _title(study: Study, trial: Trial) -> str:
    return f"<title>{escape(', '.join(text.trial_cells(study, trial)))}</title>"


def _dot(study: Study, trial: Trial, most_bytes: float, most_rate: float) -> str:
    assert trial.measurement is not None
    x = _x(trial.measurement.memory.peak_bytes, most_bytes)
    y = _y(samples_per_second(trial.measurement), most_rate)
    kind, radius = "completed", 5
    if trial.candidate == study.space.base:
        kind, radius = "yours", 6
    elif study.recommendation is not None and trial.candidate == study.recommendation.candidate:
        kind, radius = "chosen", 7
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{_title(study, trial)}</circle>'


def _failure(study: Study, trial: Trial, most_bytes: float, limit_bytes: int) -> str:
    assert trial.failure is not None
    x = _x(trial.failure.peak_bytes or limit_bytes, most_bytes)
    y = HEIGHT - BOTTOM - 9
    path = f"M{x - 4:.1f} {y - 4}l8 8m0 -8l-8 8"
    return f'<path class="failed" d="{path}">{_title(study, trial)}</path>'


def _legend(any_failed: bool) -> list[str]:
    named = [("completed", "measured"), ("yours", "yours"), ("chosen", "chosen")]
    parts = []
    x = LEFT + 40
    for kind, name in named:
        parts.append(f'<circle class="{kind}" cx="{x}" cy="10" r="5"/><text x="{x + 10}" y="14">{name}</text>')
        x += 100
    if any_failed:
        parts.append(
            f'<path class="failed" d="M{x - 4} 6l8 8m0 -8l-8 8"/><text x="{x + 10}" y="14">did not complete</text>'
        )
    return parts
