r"""The loose tier: an answer that is not stated, only there. It counts for the flexible score alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from distill.verifiers.reading.statements import Statement

DELIMITER = re.compile(r"\$\$|(?<!\\)\$|\\[()\[\]]|\n\s*\n")
CLOSING = {"$$": "$$", "$": "$", r"\(": r"\)", r"\[": r"\]"}
LOOSE_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.,/])(?:(?<![^\s=(:$])[-\u2212])?[$€£]?"
    r"(?:(?:[1-9]\d{0,2}(?:(?:,|\{,\})(?:\\!\s?)?\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/[1-9]\d*)?|\.\d+)(?: ?\\?%)?"
)
WORD = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{3}")
FRACTION = re.compile(r"-?\\[dtc]?frac\s*(?:\{[^{}]{1,40}\}|\d)\s*(?:\{[^{}]{1,40}\}|\d)")


def loose_statement(text: str) -> Statement | None:
    """The last maths segment, fraction or number of a text, whichever ends last.

    >>> loose_statement("so $x = 5$ or so").answer, loose_statement("she pays $5 and then $1,200.").answer
    ('x = 5', '$1,200')
    """
    found = max((*_last(maths_segments(text)), *_last(_numbers(text))), key=lambda item: item[1], default=None)
    return None if found is None else Statement(text[found[0] : found[1]].strip(), "loose")


def loose_number(text: str) -> Statement | None:
    """The last number or fraction of a text.

    >>> loose_number("she pays $5 and then $1,200.").answer, loose_number("nothing")
    ('$1,200', None)
    """
    numbers = _last(_numbers(text))
    return Statement(text[slice(*numbers[0])].strip(), "loose") if numbers else None


def leading_number(answer: str) -> str | None:
    r"""The number that a wordy answer begins with, else its last one: '120 feet in 40 seconds' is 120.

    >>> leading_number("120 feet in 40 seconds"), leading_number("In 3 to 5 hours"), leading_number(r"\frac{x}{2}")
    ('120', '5', None)
    """
    if not WORD.search(answer):
        return None
    numbers = [answer[start:end] for start, end in _numbers(answer)]
    if not numbers:
        return None
    return numbers[0] if answer.lstrip(" $\\").startswith(numbers[0].lstrip("$")) else numbers[-1]


def _last(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    return sorted(spans, key=lambda span: span[1])[-1:]


def _numbers(text: str) -> list[tuple[int, int]]:
    """Start and end of every number and fraction, by where they start."""
    return sorted(match.span() for pattern in (FRACTION, LOOSE_NUMBER) for match in pattern.finditer(text))


def maths_segments(text: str) -> Iterator[tuple[int, int]]:
    r"""Start and end of what stands between ``$...$``, ``$$...$$``, ``\(...\)`` and ``\[...\]``.

    A single dollar sign before a price opens nothing: what it encloses has spaces at an end and no LaTeX.
    """
    opened: tuple[str, int] | None = None
    for delimiter in DELIMITER.finditer(text):
        symbol = delimiter.group()
        if opened is not None and symbol == CLOSING[opened[0]]:
            inside = text[opened[1] : delimiter.start()]
            if symbol != "$" or _is_maths(inside):
                yield opened[1], delimiter.start()
                opened = None
            else:
                opened = (symbol, delimiter.end())
        elif symbol in CLOSING:
            if opened is None or opened[0] == "$":
                opened = (symbol, delimiter.end())
        elif not symbol.strip() and opened is not None and opened[0] == "$":
            opened = None  # inline maths ends with its paragraph


def _is_maths(inside: str) -> bool:
    return bool(inside.strip()) and (inside == inside.strip() or "\\" in inside or len(inside.split()) == 1)
