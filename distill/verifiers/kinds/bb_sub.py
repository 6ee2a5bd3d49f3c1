"""Verify answers of BIG-Bench tasks as BB-Sub's authors do: letter with letter, else the words after the marker.

Their rule (CasCoD, arXiv 2405.19842): the answer follows the last "Therefore, the answer is", up to the first full
stop, in lower case; where both name an option, only the letters count; of arguments 'valid' and 'invalid' are told
apart; no marker is wrong. Two departures: a full stop ends the answer only before a space or the end, since theirs
cuts 2.5 to 2; and an argument is valid only where the completion says so, since theirs takes any word but 'invalid'.
"""

from __future__ import annotations

import re
from functools import partial

from distill.records import Outcome, Verdict
from distill.verifiers.kinds.text import find_text
from distill.verifiers.maths.latex import unwrap
from distill.verifiers.maths.quantities import WRAPPER
from distill.verifiers.reading.extract import Region
from distill.verifiers.reading.statements import Statement
from distill.verifiers.setting import Decision, Setting, correct, incorrect, judge_statement

FULL_STOP = re.compile(r"\.(?=\s|$)")
LETTER = re.compile(r"\(([a-z])\)")
VALIDITY = re.compile(r"\b(?:(in)valid|(not )?valid)\b")
BRACKETS = str.maketrans("（）", "()")


def verify_bb_sub(text: str, gold: str, setting: Setting | None = None) -> Verdict:
    """Judge a completion by the rule at the top of this file.

    >>> setting = Setting(markers=("Therefore, the answer is",))
    >>> verify_bb_sub("Therefore, the answer is (b) paris. I hope so.", "(B)", setting).outcome.value
    'correct'
    >>> verify_bb_sub("Therefore, the answer is 2.5.", "2", setting).outcome.value
    'incorrect'
    """
    setting = setting or Setting()
    if not gold.strip():
        return Verdict(Outcome.UNVERIFIED, reason="gold_unparsed")
    return judge_statement(text, setting, partial(_find, setting=setting), partial(_decide, _folded(gold)))


def _find(region: Region, setting: Setting) -> Statement | None:
    found = find_text(region, setting)
    if found is None or (found.tier == "bare" and not setting.flexible):
        return None
    if found.tier != "marker":
        return found
    end = FULL_STOP.search(found.answer)
    return Statement(found.answer[: end.start()].strip() if end else found.answer, "marker")


def _decide(gold: str, answer: str) -> Decision:
    answer = _folded(answer)
    if gold in {"valid", "invalid"}:
        return correct("text", "words") if _validity(answer) == gold else incorrect("text", "words")
    first, second = _letter(gold), _letter(answer)
    if first and second:
        return correct("letter", "words") if first == second else incorrect("letter", "words")
    return correct("text", "words") if _content(gold) == _content(answer) else incorrect("text", "words")


def _folded(text: str) -> str:
    plain = WRAPPER.sub(r"\1", unwrap(text)).translate(BRACKETS)
    return plain.strip().strip(".").strip().lower()


def _letter(text: str) -> str:
    """The letter of an option: alone, or the first in brackets.

    >>> _letter("b"), _letter("(b) paris"), _letter("paris")
    ('b', 'b', '')
    """
    if len(text) == 1 and text.isalpha():
        return text
    found = LETTER.search(text)
    return found[1] if found else ""


def _content(text: str) -> str:
    """The text of an option without its letter."""
    return (text.partition(")")[2] if LETTER.search(text) else text).strip(". ")


def _validity(answer: str) -> str:
    """'valid' or 'invalid', whichever the answer says; nothing when it says neither or both.

    >>> _validity("the argument is deductively invalid"), _validity("valid"), _validity("not valid"), _validity("yes")
    ('invalid', 'valid', 'invalid', '')
    """
    said = {"invalid" if found[1] or found[2] else "valid" for found in VALIDITY.finditer(answer)}
    return said.pop() if len(said) == 1 else ""
