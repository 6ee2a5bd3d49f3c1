"""Bars made of characters: readable at 80 columns, in any colour scheme, and when piped."""

from __future__ import annotations

from collections.abc import Sequence

EIGHTHS = " ▏▎▍▌▋▊▉█"
SPARKS = "▁▂▃▄▅▆▇█"


def bar(value: float, largest: float, width: int) -> str:
    """A horizontal bar in eighths of a character.

    >>> bar(3, 4, 4), bar(1, 16, 2)
    ('███', '▏')
    """
    if largest <= 0:
        return ""
    eighths = round(8 * width * value / largest)
    eighths = max(eighths, 1) if value > 0 else 0  # one group among 60,000 is still seen
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def sparkline(counts: Sequence[int]) -> str:
    """One character per bin, as high as its count; an empty bin is a blank.

    >>> sparkline([0, 1, 4, 8])
    ' ▁▄█'
    """
    largest = max(counts, default=0)
    return "".join(" " if count == 0 else SPARKS[max(0, -(-8 * count // largest) - 1)] for count in counts)
