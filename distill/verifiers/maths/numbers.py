r"""Strictly formed numbers, read exactly: integers, decimals, thousands groups, fractions, mixed, scientific.

Anything that is not plainly one number is none: a reader that guesses says that ``1,2`` is 12.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from distill.verifiers.policy import Policy

MAX_EXPONENT = 400  # beyond it a power of ten is no number of ours: nobody builds 10^999999999 here
MAX_DIGITS = 400  # CPython refuses integer literals above 4,300 digits

_WHOLE = r"(?:[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d{0,2}(?: \d{3})+(?![/\d])|\d+)"
_POWER = r"10 ?\^ ?(?:\{ ?(?P<braced>-?\d+) ?\}|(?P<bare>-?\d+))"
NUMBER_PATTERN = (
    r"(?P<sign>[+-]?) ?(?:"
    rf"(?:(?P<mixed>\d+) ?)?(?P<minus>-?)\\frac\{{(?P<over>-?{_WHOLE})\}}\{{(?P<under>-?{_WHOLE})\}}"
    rf"|(?:(?P<mixed_plain>\d+) )?(?P<over_plain>{_WHOLE}) ?/ ?(?P<under_plain>{_WHOLE})"
    rf"|{_POWER}"
    rf"|(?P<whole>{_WHOLE})?(?P<point>\.\d+)?"
    r"(?: ?(?:\\times|\\cdot|[*×·x]) ?" + _POWER.replace("braced", "times_braced").replace("bare", "times_bare") + ")?"
    r"(?:[eE](?P<exponent>[+-]?\d+))?"
    r")"
)
NUMBER = re.compile(NUMBER_PATTERN)
SIMPLE = re.compile(r"-?\d{1,400}")
BASE = re.compile(r"\(?(?P<digits>[0-9A-Za-z]+)\)?_\{?(?P<base>\d{1,2})\}?")
CONGRUENCE = re.compile(
    r"(?P<name>[A-Za-z] ?\\equiv ?)?(?P<residue>-?\d{1,100}) ?(?:\\pmod|\(mod|(?P<bare>\\mod))"
    r" ?\{?(?P<modulus>[1-9]\d{0,99})\}?\)?"
)
CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?: ?([ap])\.?m\.?)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Number:
    """An exact value, and whether it was written with a decimal point, so that it may have been rounded."""

    value: Fraction
    has_point: bool = False


@lru_cache(maxsize=4096)
def read_number(text: str) -> Number | None:
    r"""The number that a text in canonical form (latex.canonical) is, or None.

    >>> [str(read_number(text).value) for text in ("1,234.50", r"1\frac{4}{5}", "2 1/2", "004", r"-\frac{3}{2}")]
    ['2469/2', '9/5', '5/2', '4', '-3/2']
    >>> read_number(r"6.5\times10^{-3}").value, read_number("1e5").value, read_number("1,2"), read_number("0,111")
    (Fraction(13, 2000), Fraction(100000, 1), None, None)
    """
    if SIMPLE.fullmatch(text):
        return Number(Fraction(int(text)))
    match = NUMBER.fullmatch(text) if len(text) <= MAX_DIGITS else None
    return number_of(match) if match else None


def number_of(match: re.Match[str]) -> Number | None:
    """The number that ``NUMBER`` matched; None for nothing, too many digits, a zero below, an extreme power."""
    if match.end() - match.start() > MAX_DIGITS:
        return None
    groups = match.groupdict()
    over, under = groups["over"] or groups["over_plain"], groups["under"] or groups["under_plain"]
    if over is not None:
        value = _fraction(over, under, groups["mixed"] or groups["mixed_plain"], groups["minus"] or "")
    elif groups["braced"] is not None or groups["bare"] is not None:
        value = _power_of_ten(groups["braced"] or groups["bare"])
    else:
        value = _decimal(groups)
    if value is None:
        return None
    return Number(-value if groups["sign"] == "-" else value, has_point=groups["point"] is not None)


def _fraction(over: str, under: str, mixed: str | None, minus: str) -> Fraction | None:
    denominator = _integer(under)
    if denominator == 0 or (mixed and (minus or over[0] == "-" or under[0] == "-")):
        return None
    value = Fraction(_integer(over), denominator)
    return value + int(mixed) if mixed else (-value if minus else value)


def _decimal(groups: dict[str, str | None]) -> Fraction | None:
    whole, point = groups["whole"], groups["point"]
    if whole is None and point is None:
        return None
    digits = (point or ".")[1:]
    value = Fraction(int(f"{_integer(whole or '0')}{digits}"), 10 ** len(digits))
    for exponent in (groups["times_braced"], groups["times_bare"], groups["exponent"]):
        if exponent is not None:
            power = _power_of_ten(exponent)
            if power is None:
                return None
            value *= power
    return value


def _power_of_ten(exponent: str) -> Fraction | None:
    if len(exponent) > 4 or abs(int(exponent)) > MAX_EXPONENT:
        return None
    return Fraction(10) ** int(exponent)


def _integer(text: str) -> int:
    return int(text.replace(",", "").replace(" ", ""))


def same_number(gold: Number, answer: Number, policy: Policy = Policy()) -> bool | None:
    """Whether two numbers are equal; None where rounding may tell, which is not for this layer to say.

    Without a decimal point on either side nothing was rounded, and beyond the policy's relative
    tolerance no rounding explains the difference.

    >>> a, b, c = read_number(r"\\frac{1}{3}"), read_number("0.333333"), read_number("0.3333")
    >>> same_number(a, b), same_number(a, c), same_number(read_number("29"), read_number("29.00"))
    (None, False, True)
    """
    if gold.value == answer.value:
        return True
    is_exact = not (gold.has_point or answer.has_point)
    if is_exact and policy.guard_magnitude:
        return False
    distance = abs(gold.value - answer.value)
    if not policy.guard_magnitude and distance <= Fraction(1, 10**policy.float_rounding):
        return None
    if is_exact:
        return False
    bound = Fraction(policy.relative_tolerance) * max(abs(gold.value), abs(answer.value))
    return None if distance <= bound else False


def is_rounded(gold: Number, answer: Number) -> bool:
    """True when one side is a fraction without end and the other its correct rounding to six or more digits.

    A gold of 16386.17 is not met by 16386.2: what ends can be written out.

    >>> third, rounded = read_number(r"\\frac{1}{3}"), read_number("0.333333")
    >>> is_rounded(third, rounded), is_rounded(rounded, third), is_rounded(third, read_number("0.3333"))
    (True, True, False)
    """
    if _ends(gold.value) == _ends(answer.value):
        return False
    exact, rounded = (answer.value, gold.value) if _ends(gold.value) else (gold.value, answer.value)
    return abs(exact - rounded) <= abs(exact) / 10**6


def _ends(value: Fraction) -> bool:
    """True when the decimal expansion ends: the denominator has no prime factor but 2 and 5."""
    denominator = value.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return denominator == 1


def in_base(text: str) -> tuple[str, int] | None:
    r"""The digits and base of a number with a subscript, or None.

    >>> in_base("204_5"), in_base(r"1a_{16}"), in_base("x_1"), in_base("19_3")
    (('204', 5), ('1A', 16), None, None)
    """
    match = BASE.fullmatch(text)
    if match is None or not 2 <= int(match["base"]) <= 36 or len(match["digits"]) > MAX_DIGITS:
        return None
    digits, base = match["digits"].upper(), int(match["base"])
    allowed = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:base]
    if not all(digit in allowed for digit in digits) or not any(digit.isdecimal() for digit in digits):
        return None
    return digits, base


def modulo(text: str) -> tuple[int, int] | None:
    r"""The residue and the modulus of a congruence, or None; '13 \mod 5' without a name is a sum to do.

    >>> modulo(r"3\pmod{5}"), modulo(r"x\equiv3\mod5"), modulo("3(mod 5)"), modulo(r"13\mod5")
    ((3, 5), (3, 5), (3, 5), None)
    """
    match = CONGRUENCE.fullmatch(text)
    if match is None or (match["bare"] and not match["name"]):
        return None
    return int(match["residue"]), int(match["modulus"])
