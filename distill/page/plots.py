"""Plots as text: dots with whiskers made of boxes, histograms and curves as SVG; everything put in is escaped.

All positions are shares of a width, so that text keeps its size on every screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from distill.page.style import NUM_MARKERS

NUM_BINS = 24
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 360, 190, 42, 22, 8
"""Of a curve's drawing, in the units that its texts are 11 high in."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One row of a dot plot."""

    label: str
    marker: int
    value: float
    low: float
    high: float
    text: str
    """What stands behind the row: the number in words."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a curve; the band is its interval."""

    x: float
    value: float
    low: float
    high: float


def dot_plot(dots: Sequence[Dot], domain: tuple[float, float], unit: str = "%") -> str:
    """Rows of a label, a dot with its interval, and the number; the axis below them.

    Args:
        domain: what the left and the right end stand for; a line is drawn at 0 where it lies inside.
    """
    start, end = domain
    ticks = round_numbers(start, end)

    def place(value: float) -> float:
        return 100 * (min(max(value, start), end) - start) / (end - start)

    grid = "".join(
        f'<i class="{"zero" if tick == 0 > start else "grid"}" style="left:{place(tick):.2f}%"></i>' for tick in ticks
    )
    rows = [
        f'<div class="row m{dot.marker % NUM_MARKERS}"><span>{escape(dot.label)}</span><div class="track">{grid}'
        f'<i class="span" style="left:{place(dot.low):.2f}%;width:{place(dot.high) - place(dot.low):.2f}%"></i>'
        f'<i class="dot" style="left:{place(dot.value):.2f}%"></i></div>'
        f'<span class="value">{escape(dot.text)}</span></div>'
        for dot in dots
    ]
    edges = {0.0: ' class="start"', 100.0: ' class="end"'}  # where a text in the middle would stand outside
    named = "".join(
        f'<span{edges.get(place(tick), "")} style="left:{place(tick):.2f}%">{tick:g} {escape(unit)}</span>'
        for tick in ticks
    )
    return "".join(rows) + f'<div class="row axis-row"><span></span><div class="ticks">{named}</div><span></span></div>'


def histogram(correct: Sequence[int], incorrect: Sequence[int], marker: int, longest: int) -> str:
    """Two histograms on one axis of tokens: filled and upwards the correct, hollow and downwards the incorrect.

    The highest bar of both has the same height, and a dashed line stands at each mean.
    """
    width, half = WIDTH / NUM_BINS, 60
    parts = [f'<line class="axis" x1="0" x2="{WIDTH}" y1="{half}" y2="{half}"/>']
    counts = [binned(lengths, longest) for lengths in (correct, incorrect)]
    highest = max(1, *counts[0], *counts[1])
    for upwards, of_kind in zip((True, False), counts, strict=True):
        for place, count in enumerate(of_kind):
            height = (half - 4) * count / highest
            y, kind = (half - height, "bar") if upwards else (half, "bar wrong")
            if count:
                box = f'x="{place * width + 1:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{height:.1f}"'
                parts.append(f'<rect class="{kind}" {box}/>')
    for lengths, y in ((correct, 0), (incorrect, half)):
        if lengths:
            x = WIDTH * (sum(lengths) / len(lengths)) / longest
            parts.append(f'<line class="mean" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + half}"/>')
    end = f'<text x="{WIDTH}" y="{2 * half + 14}" text-anchor="end">{longest:,} tokens</text>'
    parts.append(f'<text x="0" y="{2 * half + 14}">0</text>{end}')
    return (
        f'<svg viewBox="0 0 {WIDTH} {2 * half + 18}" class="m{marker % NUM_MARKERS}" role="img">{"".join(parts)}</svg>'
    )


def binned(lengths: Sequence[int], longest: int) -> list[int]:
    """How many lengths fall into each of the equally wide bins up to the longest.

    >>> binned([0, 1, 24, 24], 24)[:2], binned([0, 1, 24, 24], 24)[-1]
    ([1, 1], 2)
    """
    counts = [0] * NUM_BINS
    for length in lengths:
        counts[min(NUM_BINS - 1, NUM_BINS * length // longest)] += 1
    return counts


def curves(series: Sequence[tuple[str, int, Sequence[Point]]]) -> str:
    """A key, and shares over epochs, 0 to 100 %, with bands of their intervals.

    Args:
        series: name, marker and points of each line.
    """
    epochs = [point.x for _, _, points in series for point in points]
    first, last = min(epochs), max(*epochs, min(epochs) + 1)

    def place(epoch: float, share: float) -> str:
        x = LEFT + (WIDTH - LEFT - 8) * (epoch - first) / (last - first)
        return f"{x:.1f},{TOP + (HEIGHT - TOP - BOTTOM) * (1 - share):.1f}"

    parts = []
    for percent in (0, 25, 50, 75, 100):
        y = place(first, percent / 100).partition(",")[2]
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 8}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y}" dy="4" text-anchor="end">{percent} %</text>')
    for epoch in range(floor(first), floor(last) + 1, max(1, ceil((last - first) / 10))):
        x = place(epoch, 0).partition(",")[0]
        parts.append(f'<text x="{x}" y="{HEIGHT - 6}" text-anchor="middle">{epoch}</text>')
    for _, marker, points in series:
        line = " ".join(place(point.x, point.value) for point in points)
        band = [place(point.x, point.high) for point in points] + [place(point.x, point.low) for point in points[::-1]]
        centres = (place(point.x, point.value).split(",") for point in points)
        marks = "".join(f'<circle class="mark" cx="{x}" cy="{y}" r="3.5"/>' for x, y in centres)
        parts.append(
            f'<g class="m{marker % NUM_MARKERS}"><polygon class="band" points="{" ".join(band)}"/>'
            f'<polyline class="curve" points="{line}"/>{marks}</g>'
        )
    return f'{key(series)}<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'


def key(series: Sequence[tuple[str, int, Sequence[Point]]]) -> str:
    """Marker and name of each line."""
    names = (
        f'<span class="m{marker % NUM_MARKERS}"><span class="key"><i class="dot"></i></span>{escape(name)}</span>'
        for name, marker, _ in series
    )
    return f'<div class="soft">{"".join(names)}</div>'


def round_numbers(start: float, end: float, most: int = 4) -> list[float]:
    """Round numbers from start to end, evenly apart, at most so many.

    >>> round_numbers(0, 100), round_numbers(-7, 12)
    ([0.0, 25.0, 50.0, 75.0, 100.0], [-5.0, 0.0, 5.0, 10.0])
    """
    power = 10.0 ** floor(log10((end - start) / most))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10, 20) if (end - start) / (power * factor) <= most)
    return [round(number * step, 9) for number in range(ceil(start / step), floor(end / step + 1e-9) + 1)]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls by itself where the page is narrow."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart: what a bar is made of, from the left to the right."""

    label: str
    segments: Sequence[tuple[float, str]]
    """Length in the unit of the axis, and the class that colours it."""
    text: str


def bar_chart(bars: Sequence[Bar], largest: float) -> str:
    """Rows of a label, a bar and the number; the largest value fills the track."""
    rows = []
    for bar in bars:
        segments = "".join(
            f'<i class="{kind}" style="width:{100 * value / (largest or 1):.2f}%"></i>'
            for value, kind in bar.segments
            if value > 0
        )
        rows.append(
            f'<div class="count"><span>{escape(bar.label)}</span><div class="stack">{segments}</div>'
            f'<span class="value">{escape(bar.text)}</span></div>'
        )
    return "".join(rows)


def mirrored(
    up: Sequence[float], down: Sequence[float], ends: tuple[str, str], kinds: tuple[str, str], height: int = 52
) -> str:
    """Two histograms with the same bins, the second one upside down; the highest bars of both have the same height.

    Args:
        ends: what stands below the first and the last bin.
        kinds: the classes that colour the two.
        height: of each.
    """
    half = height if any(down) else 0
    width = WIDTH / max(len(up), len(down), 1)
    parts = [f'<line class="axis" x1="0" x2="{WIDTH}" y1="{height}" y2="{height}"/>']
    highest = max(1e-12, *up, *down)
    for values, kind, upwards in ((up, kinds[0], True), (down, kinds[1], False)):
        for place, value in enumerate(values):
            if value > 0:
                tall = max(1.0, (height - 4) * value / highest)
                y = height - tall if upwards else height
                box = f'x="{place * width + 0.5:.1f}" y="{y:.1f}" width="{max(width - 1, 1):.1f}" height="{tall:.1f}"'
                parts.append(f'<rect class="{kind}" {box}/>')
    bottom = height + half + 14
    parts.append(f'<text x="0" y="{bottom}">{escape(ends[0])}</text>')
    parts.append(f'<text x="{WIDTH}" y="{bottom}" text-anchor="end">{escape(ends[1])}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {bottom + 4}" role="img">{"".join(parts)}</svg>'


def heat_map(
    counts: Sequence[Sequence[int]],
    shares: Sequence[Sequence[float]],
    across: tuple[str, str],
    upwards: tuple[str, str],
) -> str:
    """A grid of cells, the darker the more there is in them, and coloured by a share: blue from one half on.

    Args:
        counts: the lowest row first.
        across: what stands below the first and the last column.
        upwards: what stands beside the lowest and the highest row.
    """
    rows, columns = len(counts), len(counts[0])
    wide, tall = (WIDTH - LEFT) / columns, (HEIGHT - TOP - BOTTOM) / rows
    largest = max(1, *(count for row in counts for count in row))
    parts = []
    for row, (of_row, of_share) in enumerate(zip(counts, shares, strict=True)):
        y = TOP + (rows - 1 - row) * tall
        for column, (count, share) in enumerate(zip(of_row, of_share, strict=True)):
            if count:
                dark = 0.15 + 0.85 * (count / largest) ** 0.5
                box = f'x="{LEFT + column * wide:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}"'
                kind = "right" if 2 * share >= 1 else "wrong"
                parts.append(f'<rect class="{kind}" fill-opacity="{dark:.2f}" {box}/>')
    bottom = HEIGHT - BOTTOM
    parts.append(f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{bottom}H{WIDTH}"/>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">{escape(across[0])}</text>')
    parts.append(f'<text x="{WIDTH}" y="{HEIGHT - 6}" text-anchor="end">{escape(across[1])}</text>')
    for words, y in ((upwards[0], bottom), (upwards[1], TOP + 10)):
        parts.append(f'<text x="{LEFT - 6}" y="{y:.0f}" text-anchor="end">{escape(words)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'
