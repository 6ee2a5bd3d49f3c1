"""The number that a worked-out answer comes to: the end of a calculation that is right, or of a conclusion.

A calculation is only read where it holds, so that a slip is never taken for its result, and a sentence
only where it neither denies nor offers a choice.
"""

from __future__ import annotations

import re
from fractions import Fraction

from distill.verifiers.maths.calculate import calculate
from distill.verifiers.maths.gold import value_of
from distill.verifiers.maths.guards import EQUALS, is_name
from distill.verifiers.maths.latex import spaced
from distill.verifiers.maths.numbers import CLOCK, Number
from distill.verifiers.maths.quantities import HEDGE, MAX_CHARACTERS, WRAPPER, Quantity, read_quantity, read_sentence

SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\d$(\\])|\n+")
CONCLUSION = re.compile(
    r"(?:therefore|thus|hence|so|finally|in conclusion|in total|in all|altogether)\b", re.IGNORECASE
)
DENIAL = re.compile(r"\b(?:or|not|no|never|cannot|unless|if|would|could|might|instead)\b|n['’]t\b", re.IGNORECASE)
# Where the words before a calculation end: 'For 5 baskets, the cost is 5 * 14'.
CLAUSE = re.compile(r",\s|[:;]\s|\b(?:is|are|was|were|be|equals)\s")
WORDY_REMARK = re.compile(r"(?<=[\w$%}]) \((?!mod\b|base\b)[A-Za-z][A-Za-z ,.'-]{2,40}\)\s*\Z")
REMARK = re.compile(r"\([^()\d]*\)")
WORDS = re.compile(r"(?:/ ?)?(?<![\\A-Za-z])[A-Za-z][A-Za-z'’]*")
LETTER_TIMES = re.compile(r"(?<![A-Za-z\\])x(?= ?[\d($])")


def read_answer(answer: str) -> Quantity | None:
    """The one number an answer says: itself, after a name, in a sentence, as a time of day, or worked out.

    >>> [str(read_answer(text).number.value) for text in ("x = 5", "Anne is 8 years old.", "2:00 pm", "35/7 = 5")]
    ['5', '8', '2', '5']
    """
    if len(answer) > MAX_CHARACTERS:
        return None
    remark = WORDY_REMARK.search(answer)
    answer = answer[: remark.start()] if remark and not HEDGE.search(remark.group()) else answer
    return read_quantity(value_of(answer)) or read_sentence(answer) or read_clock(answer) or read_result(answer)


def read_result(answer: str) -> Quantity | None:
    """The result that the last sentence of an answer states, or None.

    >>> read_result("4 days * 20 miles/day = 80 miles").number.value, read_result("4 * 20 = 90 miles")
    (Fraction(80, 1), None)
    >>> read_result("It took 3 and 4 days. So she worked 7 days.").number.value, read_result("It is 3. Maybe 4.")
    (Fraction(7, 1), None)
    """
    *others, last = sentences(answer)
    result = worked_out(last)
    if result is None and others and CONCLUSION.match(last) and not DENIAL.search(last):
        return read_sentence(last)
    return result


def sentences(text: str) -> list[str]:
    r"""The sentences of a text, ``spaced``, with the words of LaTeX wrappers as plain words.

    >>> sentences(r"It is 2.5. So $5\text{ feet}$.")
    ['It is 2.5', 'So 5  feet']
    """
    found = [sentence for sentence in SENTENCE_END.split(text.strip()) if sentence]
    return [WRAPPER.sub(r" \1", spaced(sentence)) for sentence in found] or [""]


def worked_out(sentence: str) -> Quantity | None:
    """The last side of a calculation that holds, such as '35/7 = 5'; one without a result is no number.

    >>> worked_out("She pays 3 books * 16 dollars/book = 48 dollars").unit, worked_out("2 + 2 = 5"), worked_out("3 + 2")
    ('dollar', None, None)
    """
    *sides, last = EQUALS.split(sentence)
    result = (read_quantity(last.strip()) or read_sentence(last)) if sides else None
    if result is None or DENIAL.search(sentence):
        return None
    if len(sides) > 1 and is_name(sides[0].strip()):
        sides = sides[1:]
    for side in reversed(sides):
        *before, calculation = CLAUSE.split(side)
        if not _comes_to(calculate(_without_words(calculation)), result):
            return None
        if before:
            break  # what stands further left is another calculation
    return result


def _comes_to(value: Fraction | None, result: Quantity) -> bool:
    shares = (value, value * 100) if value is not None and result.percent else (value,)
    return result.number.value in shares


def _without_words(side: str) -> str:
    return WORDS.sub(" ", LETTER_TIMES.sub(" * ", REMARK.sub(" ", side)))


def read_clock(answer: str) -> Quantity | None:
    """The hour of a time of day on the hour, which a gold gives as a bare number.

    >>> read_clock("2:00 pm").number.value, read_clock("2:10 pm")
    (Fraction(2, 1), None)
    """
    match = CLOCK.fullmatch(answer.strip(" ."))
    return Quantity(Number(Fraction(int(match[1]))), unit="o'clock") if match and match[2] == "00" else None
