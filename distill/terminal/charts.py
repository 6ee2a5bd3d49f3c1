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


def pieces(values: Sequence[float], total: float, width: int) -> list[int]:
    """Whole characters of a bar that is cut in pieces; they sum to the width, and what is more than nothing is seen.

    >>> pieces([379, 20, 1], 400, 40), pieces([0, 5], 5, 10)
    ([37, 2, 1], [0, 10])
    """
    if total <= 0:
        return [0] * len(values)
    sizes = [max(round(width * value / total), 1) if value > 0 else 0 for value in values]
    sizes[sizes.index(max(sizes))] += width - sum(sizes)
    return sizes


def skyline(counts: Sequence[int], height: int, width: int) -> list[str]:
    """A histogram of so many lines, the highest first; each bin as wide as fits.

    >>> skyline([1, 4, 16], 2, 6)
    ['    ██', '▁▁▄▄██']
    """
    largest = max(counts, default=0)
    across = max(1, width // max(len(counts), 1))
    eighths = [max(1, round(8 * height * count / largest)) if count else 0 for count in counts]
    return [
        "".join(" ▁▂▃▄▅▆▇█"[min(8, max(0, high - 8 * level))] * across for high in eighths)
        for level in reversed(range(height))
    ]


def shade(count: int, largest: int) -> str:
    """A character as dark as a count is large; by its root, so that a few are seen beside many.

    >>> "".join(shade(count, 100) for count in (0, 1, 10, 40, 100))
    ' ░▒▓█'
    """
    if count <= 0 or largest <= 0:
        return " "
    return "░▒▓█"[min(3, int(4 * (count / largest) ** 0.5))]
