"""Compare texts: letter by letter, by their words, or by how many words they share."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from distill.verifiers.maths.latex import unwrap
from distill.verifiers.maths.quantities import WRAPPER
from distill.verifiers.reading.extract import answer_region

OPTION_LETTER = re.compile(r"\(([A-Z])\)|([A-Z])")
ESCAPED_BRACE = re.compile(r"\\([{}])")
ARTICLES = {"a", "an", "the"}


def same_text(gold: str, answer: str) -> bool:
    r"""Equal letter by letter, as it is or minus one final full stop; case and inner spaces count.

    LaTeX around the whole of it does not count, nor do the brackets of a capital: 'B' answers '(B)'.

    >>> same_text("(B)", r"\text{B}"), same_text("abc", "abc."), same_text("True", "true"), same_text("(B)", "b")
    (True, True, False, False)
    """
    plain = WRAPPER.sub(r"\1", unwrap(answer)).strip()
    plain = plain if "*" in gold else plain.strip("*")  # bold, of which the marker may have taken one side
    if gold in {answer, answer.removesuffix("."), plain, ESCAPED_BRACE.sub(r"\1", plain)}:
        return True
    first, second = option_letter(gold), option_letter(plain)
    return bool(first) and first == second


def option_letter(text: str) -> str:
    """The capital of a text that is one, with or without brackets; else nothing.

    >>> option_letter("(B)"), option_letter("B"), option_letter("B)"), option_letter("b")
    ('B', 'B', '', '')
    """
    found = OPTION_LETTER.fullmatch(text)
    return (found[1] or found[2]) if found else ""


def normalised(text: str) -> str:
    r"""A text's words: in one case, without punctuation, the articles a, an, the, and spaces that are more than one.

    >>> normalised("The  capital, of France is\tParis!"), normalised("A.")
    ('capital of france is paris', 'a')
    """
    text = WRAPPER.sub(r"\1", unwrap(text)).casefold()
    plain = "".join(symbol for symbol in text if not unicodedata.category(symbol).startswith("P"))
    words = plain.split()
    return " ".join([word for word in words if word not in ARTICLES] or words)


def word_f1(text: str, golds: Iterable[str], *, think_opened: bool = False) -> float:
    """How well the words of a completion's answer are those of a gold: F1 of the nearest gold, from 0 to 1.

    F1 = 2 * shared / (words of the answer + words of the gold), words counted as often as they occur.

    >>> word_f1("<think>hm</think>hello world", ["hello"])  # one shared of 2 + 1
    0.6666666666666666
    """
    words = Counter(normalised(answer_region(text, think_opened=think_opened).text).split())
    best = 0.0
    for gold in golds:
        wanted = Counter(normalised(gold).split())
        shared = (words & wanted).total()
        if shared:
            best = max(best, 2 * shared / (words.total() + wanted.total()))
    return best
