r"""Exact values of written-out arithmetic such as ``12.48 - 16*0.03``, by a small parser of our own.

No text is ever evaluated as code: the grammar has numbers, brackets, ``+ - * / ^`` and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from distill.verifiers.maths.latex import spaced
from distill.verifiers.maths.numbers import MAX_DIGITS

MAX_CHARACTERS = 300
MAX_DEPTH = 20
MAX_POWER = 64
SPELLINGS = {
    r"\times": "*", r"\cdot": "*", r"\div": "/", "×": "*", "·": "*", "÷": "/", "**": "^", "[": "(", "]": ")",
    "\\$": "", "$": "", "€": "", "£": "", "{": "(", "}": ")",
}  # fmt: skip
SPELLING = re.compile("|".join(re.escape(spelling) for spelling in SPELLINGS))
FRACTION = re.compile(r"\\frac\{([^{}]*)\}\{([^{}]*)\}")
TOKEN = re.compile(r"\s*(?:(\d[\d,]*(?:\.\d+)?|\.\d+)|([-+*/^()]))")


def calculate(text: str) -> Fraction | None:
    r"""The exact value of plain arithmetic, or None where the text is anything else.

    >>> calculate("12.48 - (16 * 0.03)"), calculate(r"\frac{6}{2} + 2^3"), calculate("1/0"), calculate("2^99999")
    (Fraction(12, 1), Fraction(11, 1), None, None)
    >>> calculate("x + 1"), calculate("__import__('os')"), calculate("2(3)")
    (None, None, None)
    """
    if len(text) > MAX_CHARACTERS:
        return None
    text = FRACTION.sub(r"((\1)/(\2))", spaced(text))
    text = SPELLING.sub(lambda match: SPELLINGS[match.group()], text)
    tokens: list[str] = []
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            return None
        tokens.append(match[1] or match[2])
        position = match.end()
    return _Parser(tokens).value()


class _Parser:
    """Recursive descent over one list of tokens; ``Fraction`` throughout, None as soon as anything is amiss."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0

    def value(self) -> Fraction | None:
        total = self._sum() if self.tokens else None
        return total if self.position == len(self.tokens) else None

    def _next(self, expected: str) -> str | None:
        if self.position < len(self.tokens) and self.tokens[self.position] in expected:
            self.position += 1
            return self.tokens[self.position - 1]
        return None

    def _sum(self) -> Fraction | None:
        return self._chain(self._product, "+-")

    def _product(self) -> Fraction | None:
        return self._chain(self._signed, "*/")

    def _chain(self, operand: Callable[[], Fraction | None], operators: str) -> Fraction | None:
        left = operand()
        while left is not None and (sign := self._next(operators)) is not None:
            right = operand()
            if right is None or (sign == "/" and right == 0):
                return None
            left = {"+": left + right, "-": left - right, "*": left * right}.get(sign) if sign != "/" else left / right
        return left

    def _signed(self) -> Fraction | None:
        sign = self._next("+-")
        value = self._power()
        return -value if value is not None and sign == "-" else value

    def _power(self) -> Fraction | None:
        base = self._atom()
        if base is None or self._next("^") is None:
            return base
        exponent = self._signed()
        if exponent is None or exponent.denominator != 1 or abs(exponent) > MAX_POWER:
            return None
        if (base == 0 and exponent < 0) or max(abs(base.numerator), base.denominator) > 10**12:
            return None
        return base ** int(exponent)

    def _atom(self) -> Fraction | None:
        if self._next("(") is not None:
            self.depth += 1
            inner = self._sum() if self.depth <= MAX_DEPTH else None
            self.depth -= 1
            return inner if self._next(")") is not None else None
        if self.position == len(self.tokens) or self.tokens[self.position][0] not in "0123456789.":
            return None
        number = self.tokens[self.position].replace(",", "")
        self.position += 1
        whole, _, decimals = number.partition(".")
        return Fraction(int(whole + decimals), 10 ** len(decimals)) if len(number) <= MAX_DIGITS else None
