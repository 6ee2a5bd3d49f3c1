"""Histograms for a card: SVG that reads on white and on black, and to whoever sees no colours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 480, 200, 12, 44, 40
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-weight:600}rect{fill:#0969da}line{stroke:#8c959f}"
    "@media(prefers-color-scheme:dark){text{fill:#9198a1}rect{fill:#4493f8}line{stroke:#656c76}}"
)


def bar_chart(title: str, below: str, labels: Sequence[str], counts: Sequence[int]) -> str:
    """Bars with their counts on top and labels below; where there are many, every one of which there is room for.

    Args:
        below: what the labels are.
    """
    highest = max(1, *counts)
    step = (WIDTH - 2 * LEFT) / max(1, len(counts))
    every = 1 + int(max(len(label) for label in labels) * 8 // step)
    floor, parts = HEIGHT - BOTTOM, []
    for place, (label, count) in enumerate(zip(labels, counts, strict=True)):
        height = (floor - TOP) * count / highest
        x, middle = LEFT + place * step, LEFT + (place + 0.5) * step
        if count:
            parts.append(
                f'<rect x="{x + 1:.1f}" y="{floor - height:.1f}" width="{step - 2:.1f}" height="{height:.1f}">'
                f"<title>{escape(label)}: {count:,}</title></rect>"
            )
            if len(f"{count:,}") * 7 < step:
                parts.append(
                    f'<text x="{middle:.1f}" y="{floor - height - 4:.1f}" text-anchor="middle">{count:,}</text>'
                )
        if place % every == 0:
            parts.append(f'<text x="{middle:.1f}" y="{floor + 16}" text-anchor="middle">{escape(label)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
        f'<text class="title" x="{LEFT}" y="18">{escape(title)}</text>{"".join(parts)}'
        f'<line x1="{LEFT}" x2="{WIDTH - LEFT}" y1="{floor}" y2="{floor}"/>'
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(below)}</text></svg>\n'
    )
