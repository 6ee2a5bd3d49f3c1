"""Numbers written otherwise than with digits and a decimal point, for the policies that ask for it."""

from __future__ import annotations

import re
from dataclasses import replace

from distill.verifiers.policy import Policy
from distill.verifiers.reading.extract import Region

DECIMAL_COMMA = re.compile(
    r"(?<![\d.,(\[])(?<!\\\{)(?P<whole>\d{1,3}(?:\.\d{3})+|\d+)(?:,|\{,\})(?P<decimals>\d+)"
    r"(?!\d|[.,]\d|\s*(?:[)\]]|\\\}))"
)
UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SMALL = {word: value for value, word in enumerate(UNITS)} | {word: 10 * value for value, word in enumerate(TENS, 2)}
LARGE = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_SMALL, _WORD = ("|".join(sorted(words, key=len, reverse=True)) for words in (SMALL, [*SMALL, *LARGE]))
NUMBER_WORDS = re.compile(
    rf"(?<![A-Za-z])(?:{_SMALL})(?:(?:[\s-]+|(?<=hundred)\s+and\s+|(?<=thousand)\s+and\s+)(?:{_WORD})(?![A-Za-z]))*"
    r"(?![A-Za-z])",
    re.IGNORECASE,
)
WRAPPED_DIGITS = re.compile(r"\\(?:text|mathrm|textbf)\s*\{\s*(\d+)\s*\}")


def respelled(text: str, policy: Policy) -> str:
    r"""A text with the numbers that the policy reads written as digits with a point; as it is by default.

    >>> respelled("1.234,5 or (1,2)", Policy(decimal_comma=True)), respelled(r"\boxed{1,5}", Policy())
    ('1234.5 or (1,2)', '\\boxed{1,5}')
    >>> respelled(r"\text{Twenty-five} of two hundred and ten", Policy(number_words=True))
    '25 of 210'
    """
    if policy.decimal_comma:
        text = DECIMAL_COMMA.sub(lambda match: f"{match['whole'].replace('.', '')}.{match['decimals']}", text)
    if policy.number_words:
        text = WRAPPED_DIGITS.sub(r"\1", NUMBER_WORDS.sub(lambda match: _digits(match.group()), text))
    return text


def respelled_region(region: Region, policy: Policy) -> Region:
    """A region with its text respelled, so that every tier reads the same numbers."""
    text = respelled(region.text, policy)
    return region if text == region.text else replace(region, text=text)


def _digits(words: str) -> str:
    """The number that a run of words says; the words themselves where they say none, as 'two three' does not.

    >>> _digits("two thousand five hundred"), _digits("ninety nine"), _digits("two three"), _digits("twenty eleven")
    ('2500', '99', 'two three', 'twenty eleven')
    """
    total = part = 0
    previous = 0  # the value of the word before
    for word in re.findall(r"[a-z]+", words.lower()):
        if word == "and":
            continue
        if word in LARGE:
            scale = LARGE[word]
            if scale == 100:
                part *= scale
            else:
                total, part = total + part * scale, 0
            previous = scale
            continue
        value = SMALL[word]
        if previous and not (previous >= 100 or (20 <= previous < 100 and 0 < value < 10)):
            return words
        part += value
        previous = value
    return str(total + part)
