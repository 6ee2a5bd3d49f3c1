r"""Answers that cannot equal the gold, found without the engine: at one point their values are far apart.

Two formulas that are equal are equal for every value of their letters, so one point at which they differ decides
that they are not; wrong answers, the engine's slowest cases, mostly end here in some ten microseconds. Nothing is ever
called equal here, and whatever this small grammar does not read, or reads in more than one way, is left to the engine.
"""

from __future__ import annotations

import cmath
import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from distill.verifiers.maths.gold import value_of

MAX_CHARACTERS = 500
MAX_DEPTH = 40
MAX_PARTS = 16
FAR = 1e-4
"""Relative; wider than any tolerance under which two numbers pass for the same."""
ROUNDING = 1e-9
"""Of the largest number on the way: what a difference has to exceed to be more than rounding."""
INFINITY = 1e300

TOKEN = re.compile(r"(\d+(?:\.\d+)?|\.\d+|\\[A-Za-z]+|\\[{}\\]|[A-Za-z]|[-+*/^_(){}\[\],&])")
NUMERAL = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")
# '1,234' is one number or two, '2 1/2' a sum and 'x^10' in LaTeX x^1 times 0.
TWO_READINGS = re.compile(r"\d,\d{3}(?!\d)|\d\s+\d|\^\s*\d\d|\d\s*\\frac\s*\{\s*\d+\s*\}\s*\{\s*\d+\s*\}|\d\s*_")
CONSTANTS = {r"\pi": complex(math.pi), "e": complex(math.e), "i": 1j, r"\infty": complex(INFINITY)}
FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    r"\sin": cmath.sin, r"\cos": cmath.cos, r"\tan": cmath.tan, r"\ln": cmath.log, r"\exp": cmath.exp,
    r"\cot": lambda x: 1 / cmath.tan(x), r"\sec": lambda x: 1 / cmath.cos(x), r"\csc": lambda x: 1 / cmath.sin(x),
}  # fmt: skip
GREEK = {
    r"\alpha", r"\beta", r"\gamma", r"\delta", r"\theta", r"\lambda", r"\mu", r"\omega",
    r"\phi", r"\rho", r"\sigma", r"\tau",
}  # fmt: skip
NO_FACTOR = {r"\cdot", r"\times", r"\div", r"\infty"}
# A vmatrix is a determinant, a number.
MATRIX = re.compile(r"\s*\\begin\{[pb]?matrix\}(.*)\\end\{[pb]?matrix\}\s*", re.DOTALL)
OPENING, CLOSING = ("(", "[", r"\{"), (")", "]", r"\}")


@dataclass(frozen=True, slots=True)
class Value:
    """A number, and the largest that it was worked out from, which bounds the rounding in it."""

    number: complex
    largest: float

    def is_far_from(self, other: Value) -> bool:
        """True when no rounding explains the difference."""
        difference = abs(self.number - other.number)
        size = max(abs(self.number), abs(other.number))
        return difference > FAR * size and difference > ROUNDING * max(self.largest, other.largest)


class _UnreadError(Exception):
    """The text is none of this grammar."""


def is_refuted(gold: str, answer: str) -> bool:
    r"""True when an answer is certainly not the gold; False says nothing.

    Both are LaTeX as the engine reads it: a formula, or a list, tuple, interval or matrix of formulas. Of lists every
    part needs a partner that is not far from it, in whatever order.

    >>> is_refuted("-4", r"33\sqrt{30}"), is_refuted(r"\frac{1}{2}", "(1, 2)"), is_refuted("x+1", "x-1")
    (True, True, True)
    >>> is_refuted("2x+2", "2(x+1)"), is_refuted(r"\frac{1}{3}", "0.33333"), is_refuted("x > 3", "4")
    (False, False, False)
    """
    if "=" in gold and "=" in answer:
        return False
    first, second = values(value_of(gold)), values(value_of(answer))
    if r"\cup" in gold + answer:
        return len(first) == 1 or len(second) == 1  # a union of intervals is no number
    if not first or not second:
        return False
    return _lacks_a_part(first, second) or _lacks_a_part(second, first)


@lru_cache(maxsize=2048)
def values(text: str) -> tuple[Value, ...]:
    r"""The values of the parts of a text, in one for a formula; () where it cannot be read.

    >>> [value.number.real for value in values(r"(1, \frac{3}{4})")], values("x > 3"), values("1,234")
    ([1.0, 0.75], (), ())
    """
    if NUMERAL.fullmatch(text):
        number = float(text)
        return (Value(complex(number), abs(number)),)
    if len(text) > MAX_CHARACTERS or TWO_READINGS.search(text):
        return ()
    matrix = MATRIX.fullmatch(text)
    try:
        return _Reader(_tokens(matrix[1] if matrix else text)).parts()
    except (_UnreadError, ArithmeticError, ValueError):
        return ()


def _lacks_a_part(parts: tuple[Value, ...], others: tuple[Value, ...]) -> bool:
    return any(all(part.is_far_from(other) for other in others) for part in parts)


def _tokens(text: str) -> list[str]:
    tokens = TOKEN.findall(text)
    if sum(map(len, tokens)) < len("".join(text.split())):
        raise _UnreadError  # something was skipped
    return tokens


def _of_letter(name: str) -> complex:
    """A value for a letter: positive, so that the root of x^2 is x, and the same wherever the letter stands."""
    return complex(1.1 + 1.7 * zlib.crc32(name.encode()) / 2**32)


class _Reader:
    """Recursive descent over one list of tokens; every value carries the largest number on its way."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = [*tokens, ""]  # the last one is the end
        self.position = 0
        self.depth = 0
        self.largest = 0.0
        self.num_letters = 0

    def parts(self) -> tuple[Value, ...]:
        """The parts of the whole text: those of a bracket or of a plain list."""
        is_bracket = self._peek() in OPENING and self._closes_at_the_end()
        if is_bracket:
            self.tokens = [*self.tokens[1:-2], ""]
        found = [self._part()]
        while self._take(",", "&", r"\\"):
            found.append(self._part())
        if self._peek() or len(found) > MAX_PARTS or (is_bracket and len(found) == 1):
            raise _UnreadError  # '[5]' and '{5}' are for the engine
        return tuple(found)

    def _part(self) -> Value:
        self.largest = 0.0
        number = self._sum()
        return Value(number, self.largest)

    def _closes_at_the_end(self) -> bool:
        """True when the first bracket has its partner at the end and a comma on its own level between them."""
        depth, has_comma = 0, False
        for place, token in enumerate(self.tokens):
            depth += (token in {*OPENING, "{"}) - (token in {*CLOSING, "}"})
            has_comma |= token == "," and depth == 1
            if depth == 0:
                return has_comma and place == len(self.tokens) - 2
        return False

    def _peek(self) -> str:
        return self.tokens[self.position]

    def _take(self, *wanted: str) -> str:
        token = self._peek()
        if token in wanted:
            self.position += 1
            return token
        return ""

    def _need(self, token: str) -> None:
        if not self._take(token):
            raise _UnreadError

    def _kept(self, number: complex) -> complex:
        self.largest = max(self.largest, abs(number))
        return number

    def _sum(self) -> complex:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _UnreadError
        total = self._signed()
        while sign := self._take("+", "-"):
            term = self._product()
            total = self._kept(total + term if sign == "+" else total - term)
        self.depth -= 1
        return total

    def _signed(self) -> complex:
        sign = self._take("+", "-")
        return -self._product() if sign == "-" else self._product()

    def _product(self) -> complex:
        total = self._power()
        while True:
            if self._take("*", r"\cdot", r"\times"):
                total *= self._power()
            elif self._take("/", r"\div"):
                total = self._divided(total, self._power())
                if self._begins_a_factor():
                    raise _UnreadError  # a/bc
            elif self._begins_a_factor():
                total *= self._power()
            else:
                return self._kept(total)

    def _divided(self, over: complex, under: complex) -> complex:
        """The quotient; what is lost to a divisor that is a small difference of large numbers counts as rounding."""
        number = over / under
        self._kept(number * self.largest / abs(under))
        return number

    def _begins_a_factor(self) -> bool:
        token = self._peek()
        if token[:1].isdigit() or token[:1] == ".":
            raise _UnreadError  # x2
        return (
            token[:1].isalpha()
            or token == "("
            or (token[:1] == "\\" and token[1:].isalpha() and token not in NO_FACTOR)
        )

    def _power(self) -> complex:
        base = self._kept(self._atom())
        if not self._take("^"):
            return base
        exponent = self._group() if self._peek() == "{" else self._single()
        is_whole = exponent.imag == 0 and exponent.real == round(exponent.real)
        if self._peek() == "^" or abs(exponent) > 1_000 or (not is_whole and (base.imag or base.real < 0)):
            raise _UnreadError
        return self._kept(base ** int(exponent.real) if is_whole else base**exponent)

    def _single(self) -> complex:
        """An exponent or argument without braces: one digit, letter or constant."""
        if len(self._peek()) > 1 and self._peek() not in CONSTANTS:
            raise _UnreadError
        return self._atom()

    def _group(self) -> complex:
        self._need("{")
        inner = self._sum()
        self._need("}")
        return inner

    def _atom(self) -> complex:
        token = self._peek()
        self.position += 1
        if token[:1].isdigit() or token[:1] == ".":
            return complex(float(token))
        if token in CONSTANTS and self._peek() != "_":
            return CONSTANTS[token]
        if token in GREEK or (len(token) == 1 and token.isalpha()):
            self.num_letters += 1
            return _of_letter(token + self._subscript())
        if token in ("(", "{"):
            inner = self._sum()
            self._need(")" if token == "(" else "}")
            return inner
        if token == r"\frac":
            over = self._group()
            return self._divided(over, self._group())
        if token == r"\sqrt":
            return self._root()
        if token in FUNCTIONS:
            return self._call(FUNCTIONS[token])
        raise _UnreadError

    def _subscript(self) -> str:
        if not self._take("_"):
            return ""
        if not self._take("{"):
            if not self._peek():
                raise _UnreadError
            self.position += 1
            return "_" + self.tokens[self.position - 1]
        start = self.position
        while self._peek() not in ("}", ""):
            self.position += 1
        self._need("}")
        return "_" + "".join(self.tokens[start : self.position - 1])

    def _root(self) -> complex:
        degree = 2.0
        if self._take("["):
            degree = self._sum().real
            self._need("]")
        num_letters = self.num_letters
        radicand = self._group() if self._peek() == "{" else self._single()
        # For other letters than ours it may be positive, and sqrt(ab) what sqrt(a) sqrt(b) is.
        is_out_of_domain = radicand.real < 0 and (degree != 2 or self.num_letters > num_letters)
        if radicand.imag or is_out_of_domain:
            raise _UnreadError
        root = cmath.sqrt(complex(radicand.real))  # of -4-0j it would be -2i
        return root if degree == 2 else radicand ** (1 / degree)

    def _call(self, function: Callable[[complex], complex]) -> complex:
        r"""A function of one bracket, or of one power or product of letters and numbers, as in \sin 3x."""
        power = 1
        if self._take("^"):
            if self._peek() not in {"2", "3", "4"}:
                raise _UnreadError  # \sin^{-1}
            power = int(self._single().real)
        if self._peek() in ("(", "{"):
            argument = self._atom()
            if self._peek() == "^":
                raise _UnreadError
        else:
            start = self.position
            argument = self._kept(self._unbracketed())
            if function is cmath.log and self.position > start + 1:
                raise _UnreadError  # '\ln 2 x'
        is_out_of_domain = function is cmath.log and (argument.imag or argument.real <= 0)
        if abs(argument) > 1e6 or is_out_of_domain:
            raise _UnreadError
        return function(argument) ** power

    def _unbracketed(self) -> complex:
        r"""A number, \pi, a letter or their product, the letter last: in '\sin xy' the y may stand outside."""
        total = complex(1)
        start, num_letters = self.position, self.num_letters
        while self._peek()[:1].isalnum() or self._peek() in GREEK or self._peek() == r"\pi":
            if self.num_letters > num_letters:
                raise _UnreadError
            total *= self._atom()
        if self.position == start or self._peek() in ("^", "(", "/", "_"):
            raise _UnreadError
        return total
