"""Verify answers that are one of several options, by letter, number or text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from distill.records import Outcome, Problem, Verdict
from distill.verifiers.boxes import complete_boxes
from distill.verifiers.extract import Region, answer_region
from distill.verifiers.latex import spaced
from distill.verifiers.quantities import WRAPPER
from distill.verifiers.setting import Setting, correct, incorrect, no_answer, verdict
from distill.verifiers.statements import FINAL, Statement, first_sentence, json_answer, marker_pattern

LETTERS = "ABCDEFGHIJ"
STATED = (
    r"(?i:\b(?:answer|option|choice)\s+(?:to\s[^\n.]{1,80}\s)?is"
    r"|\b(?:answer|choice)\\?[\"*_)]{0,3}\s{0,2}[:：])|####"
)
LINE = re.compile(r"[\s:：]*([^\n]{0,300})")  # what follows a marker; the text of an option may be long
MAX_LEADING = 60  # characters in which a statement names its letter

# A letter at the start of a statement: in brackets, or with a boundary on its right.
INTRODUCTION = r"[\s\"'`*_]*(?:(?i:option|choice|letter)\s+)?(?P<mark>[\"'`*_]*)"
BRACKETED = re.compile(INTRODUCTION + r"[(\[]\s*(?P<key>[A-Ja-j]|10|\d)\s*[)\]]")
PLAIN = re.compile(INTRODUCTION + r"(?P<key>[A-Ja-j]|10|\d)(?P<right>[.:,;)\"'`*_\]]|\s|$)(?P<rest>.*)", re.DOTALL)
# After an 'A' that is no article and an 'I' that is no pronoun.
REASON = re.compile(r"\s*(?:(?:because|since|as|for|which|where|is|and|with|in)\b|[-–—(=:.,]|$)")
WORDLIKE = {"A", "I", "a", "i"}
LONE = re.compile(r"(?<![\w'’.-])\(?([A-J])\)?(?![\w'’-])(?!\s+[a-z])")
ALONE = re.compile(r"\(?([A-J]|10|\d)\)?[.:]?")
WITH_TEXT = re.compile(r"\(?([A-J])[).:]\s*(\S.*)", re.DOTALL)


def verify_choice(text: str, gold: str, setting: Setting | None = None) -> Verdict:
    r"""Judge a completion that picks one of the options.

    The gold is a key or the text of an option. Different letters stated in one completion are no
    answer ('ambiguous'); the flexible score takes the first.

    >>> verify_choice("So the answer is (C).", "C").outcome.value
    'correct'
    >>> verify_choice("The answer is Babylonia.", "B", Setting(options=("Assyria", "Babylonia"))).outcome.value
    'correct'
    >>> verify_choice("The answer is A good one.", "A").reason, verify_choice("Answer: B\nAnswer: C", "B").reason
    ('no_marker', 'ambiguous')
    """
    setting = setting or Setting()
    gold_letter = gold_key(gold, setting.options)
    if gold_letter is None:
        return Verdict(Outcome.UNVERIFIED, reason="gold_unparsed")
    region = answer_region(text, finish_reason=setting.finish_reason, think_opened=setting.think_opened)
    if region.no_answer:
        return no_answer(region.no_answer, region)
    stated = _stated_keys(region, setting)
    if not stated and setting.flexible:
        stated = [(found[1], Statement(found.group(), "loose")) for found in LONE.finditer(region.text)][-1:]
    if not stated:
        return no_answer("truncated" if region.truncated else "no_marker", region)
    if len({key for key, _ in stated}) > 1 and not setting.flexible:
        return no_answer("ambiguous", region)
    key, statement = stated[0]
    decision = correct("letter", "words") if key == gold_letter else incorrect("letter", "words")
    return verdict(decision, statement, region)


def choice_gold_problem(problem: Problem) -> str:
    """'gold_unparsed' when the gold is neither a key of this problem nor the text of one option, else ''."""
    return "" if gold_key(problem.answer, problem.options) is not None else "gold_unparsed"


def gold_key(gold: str, options: tuple[str, ...]) -> str | None:
    """The letter of a gold that is a letter, a number from 1, or an option's text.

    >>> gold_key("(c)", ()), gold_key("2", ("x", "y")), gold_key("Paris", ("Rome", "Paris")), gold_key("E", ("x", "y"))
    ('C', 'B', 'B', None)
    """
    by_text = _key_of_text(gold, options)
    if by_text is not None:
        return by_text
    found = ALONE.fullmatch(_bare(gold).upper())
    return _key(found[1], options) if found else None


def _stated_keys(region: Region, setting: Setting) -> list[tuple[str, Statement]]:
    """Every key that the highest tier of the region states, in order."""
    stated = json_answer(region.text)
    if stated is not None:
        return list(_named([stated[0]], "json", setting.options))
    boxes = complete_boxes(region.text)
    if boxes:
        return list(_named([box.content for box in boxes], "boxed", setting.options))
    marked = list(_named(_marked_lines(region, setting.markers), "marker", setting.options))
    if marked or region.truncated:
        return marked
    if region.tagged:
        return list(_named([region.text], "tagged", setting.options))
    key = _key_of_whole(region.text, setting.options)
    return [(key, Statement(region.text.strip(), "bare"))] if key else []


def _marked_lines(region: Region, markers: tuple[str, ...]) -> Iterator[str]:
    """The line after each marker; nothing that a length limit may have cut short."""
    for marker in marker_pattern(markers, general=f"{FINAL}|{STATED}").finditer(region.text):
        line = LINE.match(region.text, marker.end())
        if line is not None and not (region.truncated and line.end() == len(region.text)):
            yield line[1]


def _named(answers: Iterable[str], tier: str, options: tuple[str, ...]) -> Iterator[tuple[str, Statement]]:
    """The key that each answer names: by its whole text, else by the letter it begins with, else by a number.

    A number on the way ('the answer is 3, so (C)') is no key where a letter is stated as well.
    """
    named = [(key, answer) for answer in dict.fromkeys(answers) if (key := _key_of_answer(answer, options))]
    letters = [(key, answer) for key, answer in named if not key.isdigit()]
    for key, answer in letters or named:
        of_problem = _key(key, options)
        if of_problem is not None:
            yield of_problem, Statement(first_sentence(answer), tier)


def _key_of_answer(answer: str, options: tuple[str, ...]) -> str | None:
    """The letter or number that one statement names, whether or not it is a key of the problem."""
    key = _key_of_text(answer, options) or _key_of_text(first_sentence(answer), options)
    return key or _leading_key(_bare(answer[:MAX_LEADING]))


def _leading_key(text: str) -> str | None:
    found = BRACKETED.match(text)
    if found:
        return found["key"]
    found = PLAIN.match(text)
    if found is None:
        return None
    is_set_off = bool(found["mark"]) or not (found["right"] == "" or found["right"].isspace())
    if found["key"] in WORDLIKE and not is_set_off and not REASON.match(found["rest"]):
        return None
    if found["key"].isdigit() and found["right"] not in {"", ".", ":", ")"} and found["rest"].strip(" .)*_"):
        return None  # '3 apples' names no option
    return found["key"]


def _key_of_whole(text: str, options: tuple[str, ...]) -> str | None:
    """The key of a text that is nothing but a capital, a capital with its option's text, or an option's text."""
    if len(text) > 1_000:
        return None
    plain = _bare(text)
    found = ALONE.fullmatch(plain)
    key = _key_of_text(plain, options) or (_key(found[1], options) if found else None)
    with_text = WITH_TEXT.fullmatch(plain)
    if key is None and with_text and _key_of_text(with_text[2], options) == with_text[1]:
        return with_text[1]
    return key


def _key(letter: str, options: tuple[str, ...]) -> str | None:
    """The letter as a key of this problem; a number counts from 1, unless the options are numbers themselves."""
    if letter.isdigit():
        if any(re.search(r"\d", option) for option in options) or not 1 <= int(letter) <= len(LETTERS):
            return None
        letter = LETTERS[int(letter) - 1]
    letter = letter.upper()
    return letter if letter in LETTERS[: len(options) or len(LETTERS)] else None


def _key_of_text(text: str, options: tuple[str, ...]) -> str | None:
    """The letter of the one option with exactly this text."""
    wanted = _folded(text) if options else ""
    if not wanted or (folded := _folded_options(options)).count(wanted) != 1:
        return None
    place = folded.index(wanted)
    return LETTERS[place] if place < len(LETTERS) else None


@lru_cache(maxsize=256)
def _folded_options(options: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_folded(option) for option in options)


def _folded(text: str) -> str:
    return " ".join(_bare(text).casefold().split())


def _bare(text: str) -> str:
    """Without LaTeX wrappers, bold and quotation marks around it, and a final full stop."""
    return WRAPPER.sub(r"\1", spaced(text)).strip().strip("*_`\"' ").removesuffix(".").strip()
