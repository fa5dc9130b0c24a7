"""Plots as inline SVG: lines, columns, bars and branches of rounds, with nothing fetched, and a title and description for those who hear them.

Colours are CSS variables of the page around them. Text scales with the plot, which is drawn for a width of about 400 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 400, 240
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 44
ROW, GAP = 26, 8
LETTER = 8.0
"""Width of a letter, in the plot's units; a little too much rather than too little."""


def lines(title: str, points: Points, colour: str, x_axis: str, y_axis: str) -> str:
    """A line with its points marked."""
    if not points:
        return nothing()
    ys = [y for _, y in points]
    ticks = nice_ticks(min(ys), max(ys))
    at = _Scale(points, ticks)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in points))
    marks = "".join(
        f'<circle cx="{at(x, y)[0]:.1f}" cy="{at(x, y)[1]:.1f}" r="3.5" fill="{colour}">'
        f"<title>{escape(x_axis)} {x:g}: {escape(y_axis)} {y:.6g}</title></circle>"
        for x, y in points
    )
    line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round"/>'
    first, last = points[0], points[-1]
    told = f"{y_axis}, from {first[1]:.6g} at {x_axis} {first[0]:g} to {last[1]:.6g} at {x_axis} {last[0]:g}."
    return _svg(title, told, HEIGHT, _axes(points, ticks, at, x_axis, y_axis) + line + marks)


def columns(title: str, points: Points, colour: str, x_axis: str, y_axis: str) -> str:
    """Upright columns from zero."""
    if not any(y for _, y in points):
        return nothing()
    ticks = nice_ticks(0, max(y for _, y in points))
    at = _Scale(points, ticks, half=0.5)
    floor = at(0, 0)[1]
    width = max(1.0, 0.7 * (WIDTH - LEFT - RIGHT) / (points[-1][0] - points[0][0] + 1))
    shown = "".join(
        f'<rect x="{at(x, y)[0] - width / 2:.1f}" y="{at(x, y)[1]:.1f}" width="{width:.1f}" '
        f'height="{floor - at(x, y)[1]:.1f}" rx="2" fill="{colour}">'
        f"<title>{escape(x_axis)} {x:g}: {short(y)} {escape(y_axis)}</title></rect>"
        for x, y in points
    )
    ys = [y for _, y in points]
    told = f"{y_axis} for each {x_axis}, between {short(min(ys))} and {short(max(ys))}."
    return _svg(title, told, HEIGHT, _axes(points, ticks, at, x_axis, y_axis) + shown)


def bars(title: str, values: Sequence[tuple[str, float]], colour: str, unit: str) -> str:
    """Lying bars from zero, each with its name and its value."""
    if not any(value for _, value in values):
        return nothing()
    most = max(value for _, value in values)
    label = min(160.0, max(len(name) for name, _ in values) * LETTER + GAP)
    room = WIDTH - label - max(len(short(value)) for _, value in values) * LETTER - 2 * GAP
    shown = []
    for k, (name, value) in enumerate(values):
        y, width = k * ROW, value / most * room
        shown.append(
            f'<text x="{label - GAP:.1f}" y="{y + 17}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{label:.1f}" y="{y + 4}" width="{max(width, 1):.1f}" height="{ROW - 8}" rx="3" fill="{colour}"/>'
            f'<text class="value" x="{label + max(width, 1) + 6:.1f}" y="{y + 17}">{short(value)}</text>'
        )
    told = "; ".join(f"{name}: {short(value)}" for name, value in values)
    return _svg(title, f"In {unit}. {told}.", ROW * len(values), "".join(shown))


def branches(title: str, last: int, false: int, voided: int, told: str) -> str:
    """The line of rounds with the one that was refuted and what was built on it above, and what stands below.

    `false` is the height of the lie, `voided` how many rounds had been opened on it, `last` the last height.
    """
    first = max(0, false - 3)
    shown = range(first, min(last, max(false + voided, false + 2), first + 8) + 1)
    step = min(64.0, (WIDTH - 2 * 40) / max(1, len(shown) - 1))
    stands, void = 128, 52

    def at(height: float) -> float:
        return WIDTH / 2 + (height - first - (len(shown) - 1) / 2) * step

    end = min(false + voided, shown[-1])
    more = shown[-1] < last
    parts = [
        f'<path d="M{at(false - 1):.1f} {stands} C{at(false - 0.4):.1f} {stands} {at(false - 0.6):.1f} {void} {at(false):.1f} {void} '
        f'H{at(end):.1f}" fill="none" stroke="var(--red)" stroke-width="2.2" stroke-dasharray="5 4"/>',
        f'<path d="M{at(first) - (14 if first else 0):.1f} {stands} H{at(shown[-1]) + (14 if more else 0):.1f}" fill="none" '
        'stroke="var(--green)" stroke-width="2.2"/>',
    ]
    for height in shown:
        x = at(height)
        name = "start" if height == 0 else str(height)
        parts.append(
            f'<circle cx="{x:.1f}" cy="{stands}" r="6" fill="var(--green)"><title>round {height}: stands</title></circle>'
            f'<text x="{x:.1f}" y="{stands + 24}" text-anchor="middle">{name}</text>'
        )
    for height in range(false, end + 1):
        x = at(height)
        if height == false:
            parts.append(
                f'<circle cx="{x:.1f}" cy="{void}" r="10" fill="var(--red)"><title>round {height}: refuted</title></circle>'
                f'<path d="M{x - 4:.1f} {void - 4} l8 8 m0 -8 l-8 8" stroke="var(--card)" stroke-width="2.2" stroke-linecap="round"/>'
                f'<text class="value" x="{x:.1f}" y="{void - 20}" text-anchor="middle">refuted</text>'
            )
        else:
            parts.append(
                f'<circle cx="{x:.1f}" cy="{void}" r="6" fill="var(--card)" stroke="var(--red)" stroke-width="2.2">'
                f"<title>round {height}: void</title></circle>"
                f'<text x="{x:.1f}" y="{void - 20}" text-anchor="middle">void</text>'
            )
    parts.append(
        f'<text class="axis" x="{WIDTH / 2}" y="{stands + 46}" text-anchor="middle">round</text>'
    )
    return _svg(title, told, stands + 52, "".join(parts))


def nothing() -> str:
    """What stands in the place of a plot without figures."""
    return '<p class="soft">No figures.</p>'


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers, evenly spaced, from at or below `low` to at or above `high` (both finite)."""
    spread = (high - low) or abs(high) or 1.0
    raw = spread / (about - 1)
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return [k * step for k in range(first, last + 1)]


def short(value: float) -> str:
    """A number for people: whole ones with commas, others with three digits that count."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


class _Scale:
    """From figures to places in the plot."""

    def __init__(self, points: Points, ticks: Sequence[float], half: float = 0.0) -> None:
        self._first = points[0][0] - half
        self._last = max(points[-1][0] + half, self._first + 1)
        self._low, self._high = ticks[0], ticks[-1]

    def __call__(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self._first) / (self._last - self._first)
        up = (y - self._low) / (self._high - self._low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (
            HEIGHT - TOP - BOTTOM
        )


def _axes(points: Points, ticks: Sequence[float], at: _Scale, x_axis: str, y_axis: str) -> str:
    shown = []
    kilo = ticks[-1] >= 10_000
    for tick in ticks:
        y = at(points[0][0], tick)[1]
        name = f"{tick / 1000:,g}k" if kilo and tick else f"{tick:.6g}"
        shown.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'
        )
    first, last = int(points[0][0]), int(points[-1][0])
    for x in range(first, last + 1, max(1, math.ceil((last - first) / 10))):
        place = at(x, ticks[0])[0]
        shown.append(
            f'<text x="{place:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x}</text>'
        )
    middle = (TOP + HEIGHT - BOTTOM) / 2
    shown.append(
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_axis)}</text>'
        f'<text class="axis" transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(y_axis)}</text>'
    )
    return "".join(shown)


def _svg(title: str, told: str, height: float, body: str) -> str:
    name = "".join(letter if letter.isalnum() else "-" for letter in title.lower())
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(told)}</desc>{body}</svg>'
    )
