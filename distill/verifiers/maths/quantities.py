r"""One number with what people write around it: a currency sign, a percent sign, a unit, a short sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from distill.verifiers.maths.latex import spaced
from distill.verifiers.maths.numbers import NUMBER, Number, number_of, same_number
from distill.verifiers.policy import Policy

CURRENCY = re.compile(r"(?P<sign>[+-]?) ?(?P<mark>\\?\$|US ?\\?\$|€|£|¥|₹|USD |EUR |Rs\.? ?)? ?")
PERCENT = re.compile(r"\\?%|(?:percent|pct|percentage|per cent)\b", re.IGNORECASE)
WRAPPER = re.compile(r"\\(?:text|textbf|textit|textnormal|textrm|mbox|mathrm|operatorname|rm|hbox)\s*\{([^{}]*)\}")
UNIT_TEXT = re.compile(
    r"\\?[\"″]|[A-Za-z][A-Za-z'’/. -]*(?:\^ ?\{?\d\}?|[²³])?|\\?\$|[€£¥₹]|°[CF]?|\^ ?\{? ?\\circ ?\}? ?[CF]?"
)
HYPHEN = re.compile(r"^\s*-(?=[A-Za-z])")
PER = re.compile(r"^ ?/ ?(?=(?:second|minute|hour|day|week|month|year|person|gallon|pound|mile)\b)")
EXPONENT = re.compile(r"\^ ?\{?(\d)\}?")
HEDGE = re.compile(
    r"\b(?:or|and|not|no|never|nor|neither|cannot|unless|except|between|versus|vs"
    r"|(?:less|more|fewer|greater|higher|lower|at) (?:than|least|most)|up to|under|(?<!left )over|below|above)\b"
    r"|n['’]t\b",
    re.IGNORECASE,
)
ANY_NUMBER = re.compile(rf"(?<![\w.,/\\^]){NUMBER.pattern}(?![\w/])")
MAX_CHARACTERS = 1_000
MAX_UNIT_WORDS = 3
MAX_SENTENCE_WORDS = 20

SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
UNITS = {
    alias: names.split()[0]
    for names in (
        "m meter metre", "cm centimeter centimetre", "mm millimeter millimetre", "km kilometer kilometre",
        "in inch inches \" ″", "ft foot feet", "yd yard", "mi mile", "g gram", "kg kilogram kilo", "mg milligram",
        "lb pound lbs", "oz ounce", "ton tonne", "l liter litre", "ml milliliter millilitre", "gal gallon",
        "s sec second", "min minute", "h hr hour", "day", "week", "month", "year yr", "ms millisecond",
        "dollar usd $ buck", "cent", "euro eur €", "£ gbp", "degree deg °", "radian rad",
        "mph mi/h", "kmh km/h km/hr kph kmph", "m/s", "ft/s",
        "hz hertz", "n newton", "j joule", "w watt", "v volt", "pa pascal", "ohm",
    )
    for alias in names.split()
}  # fmt: skip
NOT_UNITS = re.compile(
    r"\b(?:squared|cubed|plus|minus|times|choose|mod|modulo|pi|sqrt|sin|cos|tan|log|ln|divided|multiplied|factorial"
    r"|half|halves|thirds?|quarters?)\b",
    re.IGNORECASE,
)
IN_WORDS = re.compile(
    r"\b(?:root|power|cube|twice|double|triple|times|inverse|reciprocal|hundred|thousand|million)", re.I
)
COMPOUND_UNITS = {"mi per h": "mph", "km per h": "kmh", "m per s": "m/s", "ft per s": "ft/s"}
SHORT_UNITS = {alias for alias in UNITS if len(alias) < 3 and alias.isalpha()}


LONG_UNITS = {alias for alias in UNITS if len(alias) > 3 and alias.isalpha()} | {"cm", "mm", "km", "kg", "unit"}
UNIT_AT_END = re.compile(
    r"(?:\\(?:text|mathrm|textrm|mbox|rm)\s*\{\s*(?P<upright>[A-Za-z][A-Za-z ./]{0,30}?)\s*\}"
    rf"|(?<=[ \d}})])(?P<plain>(?:(?:square|sq|cubic) )?(?:{'|'.join(sorted(LONG_UNITS, key=len, reverse=True))})s?))"
    r"(?:\s*\^\s*\{?\s*(?P<power>[23])\s*\}?)?\Z"
)
MAY_HAVE_A_UNIT = re.compile(r"\\(?:text|math|mbox|rm)|[ \d})][A-Za-z]{2}")
UNIT_ENDS = "}23"
MAX_UNIT_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, whether a percent sign follows it, and its unit: a name of ours, other words, or ''."""

    number: Number
    percent: bool = False
    unit: str = ""
    known: bool = False
    """True when the unit is one of the table, so that another one is another quantity."""


@lru_cache(maxsize=4096)
def read_quantity(text: str) -> Quantity | None:
    r"""One number with nothing around it but a currency sign, a percent sign and one to three unit words.

    >>> read_quantity(r"\$36").unit, read_quantity("5 feet").unit, read_quantity(r"15\text{ cm}^2").unit
    ('dollar', 'ft', 'cm^2')
    >>> read_quantity(r"28\%").percent, read_quantity("18 per day").unit, read_quantity("5x"), read_quantity("3 or 4")
    (True, 'per day', None, None)
    """
    if len(text) > MAX_CHARACTERS:
        return None
    text = spaced(text)
    wrapped = WRAPPER.fullmatch(text)
    text = wrapped[1].strip() if wrapped else text
    currency = CURRENCY.match(text)
    start = currency.end() if currency else 0
    match = NUMBER.match(text, start)
    number = number_of(match) if match else None
    if number is None or match is None or currency is None:
        return None
    if currency["sign"] == "-":
        number = replace(number, value=-number.value)
    quantity = _with_unit(Quantity(number), text[match.end() :])
    if quantity is None or not currency["mark"]:
        return quantity
    if quantity.unit and quantity.unit != _unit_name(currency["mark"])[0]:
        return replace(quantity, unit=f"{currency['mark'].strip()} {quantity.unit}", known=False)
    name, known = _unit_name(currency["mark"])
    return replace(quantity, unit=name, known=known)


def _with_unit(quantity: Quantity, rest: str) -> Quantity | None:
    """The quantity with the unit that the text after its number names; None when that text is no unit."""
    rest = PER.sub(" per ", rest)
    is_apart = rest.startswith((" ", "\\", "^", "°", "$", "€", "£", "¥", "-", '"', "″"))
    rest = HYPHEN.sub("", WRAPPER.sub(r" \1", rest)).strip()
    percent = PERCENT.match(rest)
    if percent:
        quantity, rest = replace(quantity, percent=True), rest[percent.end() :].strip()
    if not rest:
        return quantity
    words = rest.split()
    if words[0].lower() in SCALES:
        scaled = Fraction(SCALES[words[0].lower()]) * quantity.number.value
        return _with_unit(replace(quantity, number=replace(quantity.number, value=scaled)), " " + " ".join(words[1:]))
    if len(words) > MAX_UNIT_WORDS or not UNIT_TEXT.fullmatch(rest) or HEDGE.search(rest) or NOT_UNITS.search(rest):
        return None
    name, known = _unit_name(rest)
    is_word = is_apart and len(re.sub(r"[^A-Za-z]", "", rest)) >= 3
    if not (is_word or (known and (is_apart or name not in SHORT_UNITS))):
        return None
    return replace(quantity, unit=name, known=known)


def _unit_name(text: str) -> tuple[str, bool]:
    """One spelling of a unit, and whether it is of the table.

    >>> _unit_name("Square centimeters"), _unit_name("cm^{2}"), _unit_name("apples")
    (('cm^2', True), ('cm^2', True), ('apple', False))
    """
    name = text.strip(" .").replace("²", "^2").replace("³", "^3").replace("\\$", "$").replace("\\circ", "°")
    name = re.sub(r"\^ ?\{? ?°", "°", name).replace("}", "") if "°" in name else name
    power = EXPONENT.search(name)
    words = EXPONENT.sub("", name).lower().split()
    exponent = power[1] if power else ""
    for prefix, value in (("square", "2"), ("sq", "2"), ("sq.", "2"), ("cubic", "3")):
        if len(words) > 1 and words[0] == prefix:
            words, exponent = words[1:], value
    known = len(words) == 1 and (words[0] in UNITS or words[0].removesuffix("s") in UNITS)
    words = [UNITS.get(word) or UNITS.get(word.removesuffix("s")) or _singular(word) for word in words]
    name = " ".join(words) + (f"^{exponent}" if exponent else "")
    return (COMPOUND_UNITS[name], True) if name in COMPOUND_UNITS else (name, known)


def split_unit(text: str) -> tuple[str, str, bool]:
    r"""A formula without the unit at its end, that unit or '', and whether it is of the table.

    A letter is one only as upright text, and other words that may be letters multiplied are none.

    >>> split_unit(r"6\pi\text{ m}^2"), split_unit(r"6\pi cm"), split_unit("3x m"), split_unit(r"2\text{ or }3")
    (('6\\pi', 'm^2', True), ('6\\pi', 'cm', True), ('3x m', '', False), ('2\\text{ or }3', '', False))
    """
    if not MAY_HAVE_A_UNIT.search(text):
        return text, "", False
    plain = spaced(text)
    may_have_one = plain[-1:].isalpha() or plain[-1:] in UNIT_ENDS
    found = UNIT_AT_END.search(plain, max(0, len(plain) - MAX_UNIT_CHARACTERS)) if may_have_one else None
    rest = plain[: found.start()].rstrip() if found else ""
    if found is None or not rest or rest[-1] in "+-*/^_=<>(,;{&\\":
        return text, "", False
    name, known = _unit_name((found["upright"] or found["plain"]) + (f"^{found['power']}" if found["power"] else ""))
    is_unit = known or name.partition("^")[0] in {"unit", "square unit", "cubic unit"}
    return (rest, name, known) if is_unit else (text, "", False)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def read_sentence(text: str) -> Quantity | None:
    r"""The one number of a short sentence that neither hedges, negates nor lists.

    >>> read_sentence(r"She makes \$18 per day").number.value
    Fraction(18, 1)
    >>> read_sentence("120 feet in 40 seconds"), read_sentence("less than 5 apples"), read_sentence("x + 5")
    (None, None, None)
    """
    if len(text) > MAX_CHARACTERS:
        return None
    text = WRAPPER.sub(r" \1", spaced(text))
    if len(text.split()) > MAX_SENTENCE_WORDS or not re.search(r"[A-Za-z]{3}", text):
        return None
    if HEDGE.search(text) or NOT_UNITS.search(text) or IN_WORDS.search(text):
        return None
    matches = [match for match in ANY_NUMBER.finditer(text) if match.group() and number_of(match)]
    if len(matches) != 1 or len(re.findall(r"\d+", text)) != len(re.findall(r"\d+", matches[0].group())):
        return None
    before, after = text[: matches[0].start()], text[matches[0].end() :]
    percent = PERCENT.match(after.lstrip())
    prose = before.rstrip(" $€£¥₹\\-") + (after.lstrip()[percent.end() :] if percent else after)
    number = number_of(matches[0])
    if number is None or not re.fullmatch(r"[A-Za-z\s'’,.:!°$-]*", prose):
        return None
    negative = re.search(r"(?:^|\s)-\s*\\?[$€£¥₹]\s*$", before)
    return Quantity(replace(number, value=-number.value) if negative else number, percent=bool(percent))


def same_quantity(gold: Quantity, answer: Quantity, policy: Policy = Policy()) -> tuple[bool | None, str]:
    r"""Whether two quantities are equal (None where rounding may tell), and a note or the guard that refuses.

    >>> dollars, plain, percent = read_quantity("18 dollars"), read_quantity("18"), read_quantity(r"18\%")
    >>> strict = Policy(percent="strict")
    >>> same_quantity(plain, dollars), same_quantity(plain, percent), same_quantity(plain, percent, strict)
    ((True, 'unit_omitted'), (True, 'percent_omitted'), (False, ''))
    >>> same_quantity(read_quantity("5 cm"), read_quantity("5 m"))
    (False, 'guard:unit')
    """
    same = same_number(gold.number, answer.number, policy)
    if gold.percent != answer.percent:
        if (gold.unit or answer.unit) and policy.guard_unit:
            return False, "guard:unit"
        first, second = (_as_share(quantity) if quantity.percent else quantity.number for quantity in (gold, answer))
        if same_number(first, second, policy):
            return True, ""
        return (False, "") if policy.percent == "strict" else (same, "percent_omitted")
    if gold.unit == answer.unit:
        return same, ""
    if not (gold.unit and answer.unit):
        return same, "unit_omitted"
    is_another = gold.known and answer.known and policy.guard_unit
    return (False, "guard:unit") if is_another else (same, "unit_differs")


def _as_share(quantity: Quantity) -> Number:
    return Number(quantity.number.value / 100, has_point=True)
