"""Sentences that say which option is right without a marker: 'Option C is correct', 'The closest is (B)'.

They count where a completion has neither box nor marker. Such a sentence names one option, as its subject or, in
brackets, behind its verb, and neither denies nor supposes nor compares.
"""

from __future__ import annotations

import re

MAX_SENTENCE = 240  # characters looked at before a letter, and behind it
MAX_SENTENCES = 100  # who has this many says nothing

SENTENCE_BREAK = re.compile(r"[.!?](?=\s)|\n")
END = r"(?=[\"'*_)\]]{0,4}(?:[.,;:!]|\s*$|\s+(?:because|since|as|for|which|–|-)\s|\n))"
LETTER_IS = re.compile(
    r"(?<![\w'’.-])[(\[]?(?P<key>[A-Z])[)\]]?[\"'*_]{0,3}\s+(?:is|must be|would be)\s+"
    r"(?:(?:clearly|indeed|therefore|thus|hence|also|definitely)\s+)?"
    r"(?:(?:the\s+(?:(?:only|most|single)\s+)?)?(?:correct|right|best|appropriate)"
    r"(?:\s+(?:answer|option|choice|one|response))?|the\s+answer)(?:\s+to\s+the\s+question|\s+here)?" + END
)
IS_BRACKETED = re.compile(r"\b(?:is|be)(?:\s*:)?\s{1,2}[\"'*_]{0,3}[(\[](?P<key>[A-Z])[)\]]")
CHOOSING = re.compile(
    r"\b(?:I|[Ww]e)(?:['’]d|\s+(?:would|will|must|should|can|therefore))?\s+(?:choose|select|pick)\s+[\"'*_]{0,3}"
    r"(?:(?i:option|choice|answer)\s+)?[\"'*_]{0,3}[(\[]?(?P<key>[A-Z])" + END
)
# How a letter stands as the subject: first in its sentence, behind a comma, or behind a word that concludes.
SUBJECT = re.compile(
    r"(?:^|[:;(]|(?<![A-Z)\]]),|\b(?i:therefore|thus|hence|so|that|then|means|only|option|choice|answer|letter))"
    r"[\s\"'*_(\[]*\Z"
)
NOUN = re.compile(r"\b(?i:option|choice|answer|letter)[\s\"'*_(\[]*\Z")
BEST = re.compile(r"\b(?:correct|right|best|closest|nearest|appropriate|likely|accurate)\b", re.IGNORECASE)
OPEN = re.compile(
    r"\b(?:if|whether|unless|neither|nor|not|never|suppose|assum\w+|had|could|may|might|cannot|but|however|although"
    r"|though|while|than|except|instead|incorrect|wrong|or|also)\b|n['’]t\b|\?",
    re.IGNORECASE,
)
ANOTHER = re.compile(r"[)\]\"'*_]*\s*(?:and|,|&|/)\s*[\"'*_(\[]*[A-Z]\b")
AFTER_ALL = re.compile(r"\b(?:but|however),?\s+", re.IGNORECASE)  # what stands before it no longer holds


def option_in_sentences(text: str) -> str:
    """The letter that the sentences of a text pick; '' where they pick none, or different ones.

    A letter of which a sentence leaves open whether it is right counts against the others.

    >>> [option_in_sentences(text) for text in ("A is old. So C is correct.", "The closest is (D) Bern", "I choose B.")]
    ['C', 'D', 'B']
    >>> [option_in_sentences(text) for text in ("If B is correct, A is not.", "So A is correct. (C) is also correct.")]
    ['', '']
    """
    letters, picked = set(), ""
    for pattern in (LETTER_IS, IS_BRACKETED, CHOOSING):
        for place, found in enumerate(pattern.finditer(text)):
            if place == MAX_SENTENCES:
                return ""
            letter, before, after = found["key"], *_around(text, found.start(), found.end())
            if pattern is LETTER_IS and not (NOUN if found.group()[0] == "I" else SUBJECT).search(before):
                continue  # 'vitamin C is the best'; a bare 'I' is a numeral as well
            if pattern is IS_BRACKETED and not BEST.search(before):
                continue
            letters.add(letter)
            picked = picked if OPEN.search(before + found.group() + after) or ANOTHER.match(after) else letter
    return picked if len(letters) == 1 else ""


def _around(text: str, start: int, end: int) -> tuple[str, str]:
    """The rest of the sentence on both sides of a place."""
    first = max(0, start - MAX_SENTENCE)
    breaks = [found.end() for found in SENTENCE_BREAK.finditer(text, first, start)]
    last = SENTENCE_BREAK.search(text, end, end + MAX_SENTENCE)
    before = AFTER_ALL.split(text[breaks[-1] if breaks else first : start])[-1]
    return before.lstrip(), text[end : last.start() if last else end + MAX_SENTENCE]
