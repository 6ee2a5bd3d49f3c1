r"""Find complete ``\boxed{}`` and ``\fbox{}`` by matching braces, in one pass over the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

# A pair of backslashes is one token, so that the brace after it counts, unless it is the doubly
# escaped '\\boxed' of text that went through a JSON encoder once too often.
TOKEN = re.compile(r"\\(?:boxed|fbox)\s*\{|\\\\(?!boxed|fbox)|\\[{}]|[{}]")

# All that may stand between two boxes that state the parts of one answer: punctuation and spacing,
# 'and', 'or', \text{...}, a name before an equals sign, and at most one word ('\boxed{1} papers and').
BETWEEN = re.compile(
    r"(?:[\s,;.$&~+]|\\[\s,;:!()\[\]]|\\q?quad|\\text\w*\{[^{}]{0,40}\}|\b(?:and|or)\b|\\?[A-Za-z]\w{0,9}(?:_\{\w{1,5}\})?(?:\(\w\))?\s*=)*"
)
OR = re.compile(r"\bor\b", re.IGNORECASE)
ONE_WORD = re.compile(r"[\s,;.$]*[A-Za-z]{3,}\s*(?:and|or|,)\s*")
MAX_BETWEEN = 120  # characters between two boxes of one answer
MAX_PARTS = 50  # boxes of one answer


@dataclass(frozen=True, slots=True)
class Box:
    """A complete box: what it holds, and where it stands in the text."""

    content: str
    start: int
    end: int


def complete_boxes(text: str) -> list[Box]:
    r"""All outermost complete boxes in order; a box whose brace never closes is none.

    >>> [box.content for box in complete_boxes(r"\boxed{\frac{1}{2}}, \fbox{\{3\}} and \boxed{x+")]
    ['\\frac{1}{2}', '\\{3\\}']
    """
    boxes: list[Box] = []
    open_braces: list[tuple[int, int, bool]] = []  # start of the token, start of the content, is it a box
    for token in TOKEN.finditer(text):
        symbol = token.group()
        if symbol == "}":
            if not open_braces:
                continue
            start, content_start, is_box = open_braces.pop()
            if is_box:
                while boxes and boxes[-1].start > start:
                    boxes.pop()  # it stood inside this one
                boxes.append(Box(text[content_start : token.start()], start, token.end()))
        elif symbol.endswith("{") and symbol != "\\{":
            open_braces.append((token.start(), token.end(), symbol != "{"))
    return boxes


def last_run(text: str, boxes: Sequence[Box]) -> list[Box]:
    r"""The last box and those right before it with nothing between but what joins the parts of an answer.

    >>> text = r"\boxed{7} so far. Then x = \boxed{1} and \boxed{2}."
    >>> [box.content for box in last_run(text, complete_boxes(text))]
    ['1', '2']
    """
    run = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        between = text[box.end : run[0].start]
        if len(run) == MAX_PARTS or not _joins(between):
            break
        run.insert(0, box)
    return run


def are_alternatives(text: str, run: Sequence[Box]) -> bool:
    r"""True when 'or' stands between different boxes of a run, which then offer a choice and state nothing.

    >>> offered, repeated = r"\boxed{1} or \boxed{2}", r"\boxed{x=1}. Or \boxed{x=1}"
    >>> [are_alternatives(text, complete_boxes(text)) for text in (offered, repeated)]
    [True, False]
    """
    if len({box.content for box in run}) == 1:
        return False
    return any(OR.search(text[box.end : other.start]) for box, other in pairwise(run))


def _joins(between: str) -> bool:
    between = between.rstrip("\\")  # of a box written with two backslashes
    if len(between) > MAX_BETWEEN:
        return False
    return bool(BETWEEN.fullmatch(between) or ONE_WORD.fullmatch(between))
