"""A mathematical gold answer, read once for all the completions of its group."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from distill.verifiers.maths.guards import equation_sides, is_name
from distill.verifiers.maths.latex import canonical, is_balanced, spaced, split_parts, unwrap
from distill.verifiers.maths.lists import expanded
from distill.verifiers.maths.numbers import CLOCK
from distill.verifiers.maths.quantities import Quantity, read_quantity
from distill.verifiers.maths.words import is_words, plain_words
from distill.verifiers.reading.boxes import complete_boxes, last_run

MAX_ANSWER_CHARACTERS = 2_000
MAX_DEPTH = 50
UNCLOSED_BOX = re.compile(r"(?<!\\)\\+(?:boxed|fbox)\s*\{")
LONG_LITERAL = re.compile(r"\d{401}")


@dataclass(frozen=True, slots=True)
class Gold:
    """What a gold is."""

    text: str
    """What its last boxes hold, or all of it without the maths delimiters around it."""
    canonical: str
    quantity: Quantity | None
    is_words: bool
    has_parts: bool
    """True for a list, so that adjacent boxes of a completion make one answer."""
    problem: str
    """Why no answer can be compared with it; '' when one can, as far as can be told without the engine."""


@lru_cache(maxsize=1024)
def read_gold(gold: str) -> Gold:
    r"""Read a gold answer.

    >>> read_gold(r"$1$ and $2$").has_parts, read_gold(r"so $x = \boxed{36}$ dollars.").text
    (True, '36')
    >>> read_gold(r"\frac{1}{").problem, read_gold("@@").problem, read_gold("9" * 500).problem
    ('gold_unparsed', 'gold_unparsed', 'too_long')
    """
    boxes = complete_boxes(gold)
    text = ", ".join(box.content for box in last_run(gold, boxes)) if boxes else unwrap(UNCLOSED_BOX.sub("", gold))
    problem = over_limit(text)
    if not problem and not (re.search(r"[A-Za-z0-9]", text) and is_balanced(text, MAX_DEPTH)):
        problem = "gold_unparsed"
    if problem:
        return Gold(text, "", None, is_words=False, has_parts=False, problem=problem)
    quantity = read_quantity(value_of(text))
    has_parts = quantity is None and len(split_parts(expanded(spaced(text)))) > 1
    in_words = quantity is None and is_words(text) and not CLOCK.fullmatch(plain_words(text))
    return Gold(text, canonical(text), quantity, in_words, has_parts, "")


def value_of(text: str) -> str:
    r"""The right side of an equation whose left side is a name; any other text as it is.

    >>> value_of("$f(2) = 5$"), value_of("x+1=0"), value_of("5")
    ('5', 'x+1=0', '5')
    """
    if "=" not in text:
        return text
    sides = equation_sides(spaced(text))
    return sides[-1] if len(sides) == 2 and is_name(sides[0]) else text


def over_limit(text: str) -> str:
    """'too_long' for a text that is too long, too deeply nested or holds a number of too many digits, else ''."""
    if len(text) > MAX_ANSWER_CHARACTERS or (len(text) > 400 and LONG_LITERAL.search(text)):
        return "too_long"
    depth = deepest = 0
    for bracket in re.findall(r"[{}()\[\]]", text) if len(text) > MAX_DEPTH else ():
        depth += 1 if bracket in "{([" else -1
        deepest = max(deepest, depth)
    return "too_long" if deepest > MAX_DEPTH else ""
