r"""A gold and an answer as the engine should read them: one spelling of numbers, degrees and vectors."""

from __future__ import annotations

import re

from distill.verifiers.maths.guards import ARGUMENTS, equation_sides, is_name
from distill.verifiers.maths.intervals import joined_intervals, plain_set
from distill.verifiers.maths.latex import canonical, for_engine, spaced, split_parts
from distill.verifiers.maths.lists import PLUS_MINUS, assignments, expanded, ungrouped
from distill.verifiers.maths.numbers import Number
from distill.verifiers.maths.quantities import HEDGE, read_quantity
from distill.verifiers.maths.words import MEANINGS, plain_words
from distill.verifiers.policy import Policy
from distill.verifiers.reading.loose import maths_segments

DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?")
VECTOR = re.compile(r"\\begin\{([pb]?matrix)\}(?P<cells>[^\\&]*(?:(?:&[^\\&]*)+|(?:\\\\[^\\&]*)+))\\end\{\1\}")
TUPLE = re.compile(r"\((?P<cells>[^()]*,[^()]*)\)")
PROSE = re.compile(r"[A-Za-z]{3}")


def engine_pair(gold: str, answer: str, policy: Policy = Policy()) -> tuple[str, str]:
    r"""Both sides for the engine.

    >>> engine_pair(r"\pi/2", r"90^\circ")
    ('\\pi/2', '90\\cdot\\frac{\\pi}{180}')
    >>> engine_pair(r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1, 2)")
    ('(1,2)', '(1, 2)')
    >>> engine_pair(r"\sqrt{6}", "2 1/2 feet"), engine_pair("x+1", "the value is $x+1$ here")
    (('\\sqrt{6}', '\\frac{5}{2}'), ('x+1', 'x+1'))
    """
    gold, answer = (_listed(ungrouped(text)) for text in (gold, answer))
    if policy.set_relations:
        gold, answer = _plain_set(gold), _plain_set(answer)
        answer = joined_intervals(answer) if r"\cup" in gold else answer
    first = as_engine_text(gold)
    if len(split_parts(first)) > 1:
        return _values(first), _values(for_engine(answer)).replace(",", ", ")
    second = as_engine_text(answer)
    if DEGREES.search(first) and r"\pi" in second and not DEGREES.search(second):
        first = DEGREES.sub(r"\\cdot\\frac{\\pi}{180}", first)
    elif DEGREES.search(second) and r"\pi" in first and not DEGREES.search(first):
        second = DEGREES.sub(r"\\cdot\\frac{\\pi}{180}", second)
    if TUPLE.fullmatch(second):
        first = VECTOR.sub(_as_tuple, first)
    elif TUPLE.fullmatch(first):
        second = VECTOR.sub(_as_tuple, second)
    return first, second


def _listed(text: str) -> str:
    """Lists that are written as one thing, as lists; a text that is none keeps the delimiters of the maths in it."""
    if not (PLUS_MINUS.search(text) or text.lstrip("$ ").startswith(("(", r"\left"))):
        return text
    plain = spaced(text)
    written = assignments(expanded(plain))
    return text if written == plain else written


def _plain_set(text: str) -> str:
    """As ``plain_set``; a text that is no set keeps the delimiters of the maths in it."""
    plain = spaced(text)
    written = plain_set(plain)
    return text if written == plain else written


def _values(text: str) -> str:
    r"""A list without the name that all its parts share: 'f(n) = 1 or f(n) = -1' says 1 and -1, whatever n is called.

    >>> _values(r"f(n) = 1 \text{ or } f(n) = -1"), _values("x=1, y=2")
    ('1, -1', 'x=1, y=2')
    """
    parts = [equation_sides(part) for part in split_parts(text)]
    names = {ARGUMENTS.sub("", sides[0]).strip() for sides in parts if len(sides) == 2 and is_name(sides[0])}
    shares_one = len(names) == 1 and all(len(sides) == 2 for sides in parts)
    return ", ".join(sides[1] for sides in parts) if shares_one else text


def as_engine_text(text: str) -> str:
    """One text for the engine: a number in plain LaTeX, a formula out of the prose around it."""
    meaning = MEANINGS.get(plain_words(text).casefold())
    if meaning is not None:
        return meaning
    quantity = read_quantity(text)
    if quantity is not None and "^" not in canonical(text):
        return number_latex(quantity.number) + (r"\%" if quantity.percent else "")
    segments = list(maths_segments(text))
    if len(segments) == 1:
        start, end = segments[0]
        around = text[:start].rstrip("$\\([ ") + " " + text[end:].lstrip("$\\)] ")
        if PROSE.search(around) and not HEDGE.search(around):
            return for_engine(text[start:end])
    return for_engine(text)


def number_latex(number: Number) -> str:
    """A number as plain LaTeX: decimals stay decimals, because the engine compares those after rounding.

    >>> from fractions import Fraction
    >>> number_latex(Number(Fraction(5, 2), has_point=True)), number_latex(Number(Fraction(-5, 2)))
    ('2.5', '-\\\\frac{5}{2}')
    """
    value = abs(number.value)
    sign = "-" if number.value < 0 else ""
    if value.denominator == 1 and not number.has_point:
        return f"{sign}{value.numerator}"
    if not number.has_point:
        return rf"{sign}\frac{{{value.numerator}}}{{{value.denominator}}}"
    places = 1
    while (value * 10**places).denominator != 1:
        places += 1
    digits = str(int(value * 10**places)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


def _as_tuple(match: re.Match[str]) -> str:
    cells = re.split(r"&|\\\\", match["cells"])
    return "(" + ",".join(cell.strip() for cell in cells if cell.strip()) + ")"
