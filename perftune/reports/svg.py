"""A scatter of speed against memory to an SVG drawing, with the limit as a line."""

import math
from html import escape

from perftune.printable import printable
from perftune.reports.document import Mark, Point, Scatter
from perftune.units import format_bytes

WIDTH, HEIGHT = 860, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 34, 44
NUM_TICKS = 5
RADII = {Mark.MEASURED: 5, Mark.YOURS: 6, Mark.BEST_SO_FAR: 7, Mark.CHOSEN: 7}
CLASSES = {
    Mark.MEASURED: "completed", Mark.YOURS: "yours", Mark.BEST_SO_FAR: "best", Mark.CHOSEN: "chosen",
    Mark.FAILED: "failed",
}  # fmt: skip


def drawing(scatter: Scatter) -> str:
    """What completed as dots; on the floor, as crosses, what did not."""
    done = [point for point in scatter.points if point.per_second is not None]
    most_measured_bytes = max((point.num_bytes for point in done), default=0.0)
    # A limit far above everything would press the dots into a corner: then it is only named.
    limit_shown = not done or scatter.limit_bytes <= 4 * most_measured_bytes
    most_bytes = _above(max(most_measured_bytes, scatter.limit_bytes if limit_shown else 0))
    most_rate = _above(max((point.per_second or 0.0 for point in done), default=1.0))
    parts = [*_axes(most_bytes, most_rate), _limit(scatter.limit_bytes, most_bytes, limit_shown)]
    # What is marked comes last, so that nothing lies over it.
    ordered = sorted(scatter.points, key=lambda point: RADII.get(point.mark, 0))
    parts += [_point(point, most_bytes, most_rate) for point in ordered]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="samples per second against peak memory">\n'
        + "\n".join([*parts, *_legend(scatter)])
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


def _point(point: Point, most_bytes: float, most_rate: float) -> str:
    x, title = _x(point.num_bytes, most_bytes), f"<title>{escape(printable(point.label))}</title>"
    if point.per_second is None:
        return f'<path class="failed" d="M{x - 4:.1f} {HEIGHT - BOTTOM - 13}l8 8m0 -8l-8 8">{title}</path>'
    y = _y(point.per_second, most_rate)
    kind, radius = CLASSES[point.mark], RADII[point.mark]
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{title}</circle>'


def _legend(scatter: Scatter) -> list[str]:
    """Only what is drawn."""
    drawn = {point.mark for point in scatter.points}
    parts = []
    for number, mark in enumerate(mark for mark in Mark if mark in drawn):
        x = LEFT + 40 + 110 * number
        drawing_of = (
            f'<path class="failed" d="M{x - 4} 6l8 8m0 -8l-8 8"/>'
            if mark is Mark.FAILED
            else f'<circle class="{CLASSES[mark]}" cx="{x}" cy="10" r="5"/>'
        )
        parts.append(f'{drawing_of}<text x="{x + 10}" y="14">{mark.value}</text>')
    return parts
