r"""Layer 3: golds that are words are compared as words and never reach the engine.

The engine reads a word as a product of its letters: to it 'listen' equals 'silent', and 'A' equals 'a'.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from distill.verifiers.maths.latex import spaced, split_parts
from distill.verifiers.maths.quantities import WRAPPER

FUNCTIONS = re.compile(
    r"(?<![A-Za-z])(?:arc)?(?:sin|cos|tan|sec|csc|cot|log|ln|exp|lim|max|min|gcd|lcm|mod|det|deg|sqrt)(?![A-Za-z]{2})"
)
BARE_WORDS = re.compile(r"[A-Za-z][A-Za-z'’. ,:;!?-]*")
LETTER_RUN = re.compile(r"[A-Za-z]{3}")
LETTER = re.compile(r"\(?([A-Za-z])\)?")
SHORT_WORDS = {"no"}  # two letters, and yet no product

# Words that are values, in the engine's spelling.
MEANINGS = {
    "infinity": r"\infty", "positive infinity": r"\infty", "negative infinity": r"-\infty", "empty set": r"\emptyset",
    "the empty set": r"\emptyset", "all real numbers": r"\mathbb{R}", "all reals": r"\mathbb{R}",
    "the real numbers": r"\mathbb{R}", "infty": r"\infty", "emptyset": r"\emptyset", "varnothing": r"\emptyset",
}  # fmt: skip


@lru_cache(maxsize=4096)
def plain_words(text: str) -> str:
    r"""A text without LaTeX wrappers, quotes, brackets around a letter and final punctuation.

    >>> plain_words(r"\text{(B)}."), plain_words(r"$\textbf{east}$"), plain_words("no  solution!")
    ('B', 'east', 'no solution')
    """
    text = WRAPPER.sub(r"\1", spaced(text)).replace("\\", " ")
    text = " ".join(text.split()).strip(" \"'“”‘’.!?")
    letter = LETTER.fullmatch(text)
    return letter[1] if letter else text


@lru_cache(maxsize=4096)
def is_words(text: str) -> bool:
    r"""True when a text is ``\text{...}`` with letters, or plain words with a run of three letters or more.

    >>> is_words(r"\text{Evelyn}"), is_words(r"\text{June 20}"), is_words("no solution"), is_words("listen")
    (True, True, True, True)
    >>> is_words("Cannot be determined"), is_words("sinx + cos x")
    (True, False)
    >>> is_words("ab"), is_words("2abc"), is_words("sin x"), is_words(r"12\text{ and }13"), is_words(r"\infty")
    (False, False, False, False, False)
    """
    text = spaced(text)
    wrapped = WRAPPER.fullmatch(text)
    if wrapped is not None:
        return re.search(r"[A-Za-z]", wrapped[1]) is not None
    text = WRAPPER.sub(r" \1 ", text).strip()
    if text.lower() in SHORT_WORDS:
        return True
    return BARE_WORDS.fullmatch(text) is not None and LETTER_RUN.search(text) is not None and not FUNCTIONS.search(text)


def is_letter(text: str) -> bool:
    """True for one bare letter, wrapped or in brackets: the label of a choice, or a variable.

    >>> is_letter(r"\\text{(C)}"), is_letter("x"), is_letter("x+1")
    (True, True, False)
    """
    return LETTER.fullmatch(plain_words(text)) is not None


def same_words(gold: str, answer: str, *, in_order: bool = True) -> bool:
    r"""Equal as words; case counts for a single letter, which is a label or a variable.

    >>> same_words(r"\text{Evelyn}", "evelyn."), same_words("A", "a"), same_words("listen", "silent")
    (True, False, False)
    >>> same_words("red, blue", "Red and blue"), same_words("red, blue", "Red and blue", in_order=False)
    (True, True)
    >>> same_words("red, blue", "blue, red"), same_words("red, blue", "blue, red", in_order=False)
    (False, True)
    """
    gold, answer = plain_words(gold), plain_words(answer)
    if gold == answer:
        return True
    if LETTER.fullmatch(gold) is not None:
        return False
    golds, answers = split_parts(gold.casefold()), split_parts(answer.casefold())
    return golds == answers or (not in_order and Counter(golds) == Counter(answers))
