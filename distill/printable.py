"""Texts of models as a person can read them safely: what a terminal or a browser would obey becomes a picture."""

from __future__ import annotations

CONTROLS = (
    {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
    | {0x7F: 0x2421}
    | dict.fromkeys([*range(0x80, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)
)
"""Control characters -> their pictures; those that turn the direction of writing or end a line -> '�'."""


def printable(text: str) -> str:
    """A text with pictures in the place of control characters other than line ends and tabs.

    >>> printable("a\\x1b[2J"), printable("a\\u202eb")
    ('a␛[2J', 'a�b')
    """
    return text.translate(CONTROLS)


def one_line(text: str) -> str:
    """A printable text in which line ends and tabs are pictures, too: a name, where a line is all there is.

    >>> one_line("two\\nlines")
    'two␊lines'
    """
    return text.translate(CONTROLS | {10: 0x240A, 9: 0x2409})
