"""Verify answers that are one of several options, or several of them, by letter, number or text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from distill.records import Outcome, Problem, Verdict
from distill.verifiers.kinds.letters import (
    LISTS,
    MAX_LEADING,
    MAX_LISTED,
    Stated,
    bare,
    folded,
    gold_keys,
    key_of,
    key_of_text,
    leading_key,
    listed_keys,
    patterns_of,
)
from distill.verifiers.kinds.option_sentences import option_in_sentences
from distill.verifiers.reading.boxes import complete_boxes, last_run
from distill.verifiers.reading.extract import Region, answer_region
from distill.verifiers.reading.statements import FINAL, Statement, first_sentence, json_answer, marker_pattern
from distill.verifiers.setting import Setting, correct, incorrect, no_answer, verdict

STATED = (
    r"(?i:\b(?:answer|option|choice)\s+(?:to\s[^\n.]{1,80}\s)?is"
    r"|\b(?:answer|choice)\\?[\"*_)]{0,3}\s{0,2}[:：])|####"
)
# What states an answer only where several letters are right: elsewhere 'all the answers:' is a list of other problems'.
SEVERAL_ARE = (
    r"(?i:\banswers\s+(?:to\s[^\n.]{1,80}\s)?are|\banswers\\?[\"*_)]{0,3}\s{0,2}[:：]"
    r"|\b(?:correct|right|true|valid)\s+(?:options|choices|statements|letters|ones)\s+are"
    r"|\b(?:options|choices|statements|letters)(?=\s+\(?[A-Z]\)?\s*(?:,|and\b|&)[^\n.]{0,60}"
    r"\bare\s+(?:(?:all|both|the)\s+)?(?:correct|right|true|valid)\b))"
)
LINE = re.compile(r"[\s:：]*([^\n]{0,300})")  # what follows a marker; the text of an option may be long
SENTENCE_END = re.compile(r"[.!?。！？](?=\s|$)|\n")


def verify_choice(text: str, gold: str, setting: Setting | None = None) -> Verdict:
    r"""Judge a completion that picks one of the options, or all the right ones where the gold has several.

    The gold is a key or the text of an option, or several keys; several are compared as a set. Different letters
    stated for one are no answer ('ambiguous'), and so are letters joined by 'or'; the flexible score takes the first.

    >>> verify_choice("So the answer is (C).", "C").outcome.value
    'correct'
    >>> verify_choice("The answer is Babylonia.", "B", Setting(options=("Assyria", "Babylonia"))).outcome.value
    'correct'
    >>> verify_choice("The answer is A good one.", "A").reason, verify_choice("Answer: B\nAnswer: C", "B").reason
    ('no_marker', 'ambiguous')
    >>> verify_choice("The answers are A and C.", "AC").outcome.value, verify_choice(r"\boxed{A}", "AC").outcome.value
    ('correct', 'incorrect')
    """
    setting = setting or Setting()
    gold_letters = gold_keys(gold, setting.options)
    if not gold_letters:
        return Verdict(Outcome.UNVERIFIED, reason="gold_unparsed")
    region = answer_region(text, finish_reason=setting.finish_reason, think_opened=setting.think_opened)
    if region.no_answer:
        return no_answer(region.no_answer, region)
    several = len(gold_letters) > 1
    stated = _stated(region, setting, several) or (_loose(region, setting, several) if setting.flexible else [])
    if not stated:
        return no_answer("truncated" if region.truncated else "no_marker", region)
    answers = {frozenset(said.keys) for said, _ in stated}
    is_open = len(answers) > 1 or any(said.hedged or (len(said.keys) > 1 and not several) for said, _ in stated)
    if is_open and not setting.flexible:
        return no_answer("ambiguous", region)
    said, statement = stated[0]
    keys = said.keys if several and not said.hedged else said.keys[:1]
    decision = correct if frozenset(keys) == gold_letters else incorrect
    return verdict(decision("letter", "words"), statement, region)


def choice_gold_problem(problem: Problem) -> str:
    """'gold_unparsed' when the gold is no key of this problem, no text of one option and no list of keys, else ''."""
    return "" if gold_keys(problem.answer, problem.options) else "gold_unparsed"


def _stated(region: Region, setting: Setting, several: bool) -> list[tuple[Stated, Statement]]:
    """What the highest tier of the region states, in order."""
    options = setting.options
    stated = json_answer(region.text)
    if stated is not None:
        return list(_named([stated[0]], "json", options, several))
    boxes = complete_boxes(region.text)
    if boxes and several:
        run = last_run(region.text, boxes)
        return list(_named([", ".join(box.content for box in run)], "boxed", options, several))
    if boxes:
        return list(_named([box.content for box in boxes], "boxed", options, several))
    marked = list(_named(_marked_lines(region, setting.markers, several), "marker", options, several))
    if marked or region.truncated:
        return marked
    if region.tagged:
        return list(_named([region.text], "tagged", options, several))
    whole = _said_by_whole(region.text, options, several)
    if whole:
        return [(whole, Statement(region.text.strip(), "bare"))]
    key = "" if several else key_of(option_in_sentences(region.text), options)
    return [(Stated((key,)), Statement(key, "sentence"))] if key else []


def _marked_lines(region: Region, markers: tuple[str, ...], several: bool) -> Iterator[str]:
    """The line after each marker; nothing that a length limit may have cut short."""
    general = f"{FINAL}|{STATED}|{SEVERAL_ARE}" if several else f"{FINAL}|{STATED}"
    for marker in marker_pattern(markers, general=general).finditer(region.text):
        line = LINE.match(region.text, marker.end())
        if line is not None and not (region.truncated and line.end() == len(region.text)):
            yield line[1]


def _named(
    answers: Iterable[str], tier: str, options: tuple[str, ...], several: bool
) -> Iterator[tuple[Stated, Statement]]:
    """What each answer names: an option by its whole text, else letters that it begins with, else a number.

    A number on the way ('the answer is 3, so (C)') is no key where a letter is stated as well.
    """
    named = [(said, answer) for answer in dict.fromkeys(answers) if (said := _said(answer, options, several))]
    letters = [(said, answer) for said, answer in named if not said.keys[0].isdigit()]
    for said, answer in letters or named:
        keys = tuple(key for letter in said.keys if (key := key_of(letter, options)))
        if keys:
            yield Stated(keys, said.hedged), Statement(first_sentence(answer), tier)


def _said(answer: str, options: tuple[str, ...], several: bool) -> Stated | None:
    """The letters or the number that one statement names, whether or not they are keys of the problem."""
    key = key_of_text(answer, options) or key_of_text(first_sentence(answer), options)
    if key:
        return Stated((key,))
    plain = bare(answer[:MAX_LISTED])
    listed = listed_keys(plain.translate(LISTS) if plain[:1] in "[{\\" else plain, options, together=several)
    if listed is not None:
        return listed
    key = leading_key(bare(answer[:MAX_LEADING]), options)
    return Stated((key,)) if key else None


def _said_by_whole(text: str, options: tuple[str, ...], several: bool) -> Stated | None:
    """What a text says that is only a capital, with or without its option's text, that text, or a list of capitals."""
    if len(text) > 1_000:
        return None
    plain = bare(text)
    patterns = patterns_of(options)
    found = patterns.alone.fullmatch(plain)
    key = key_of_text(plain, options) or (key_of(found[1], options) if found else None)
    with_text = patterns.with_text.fullmatch(plain)
    if key is None and with_text and key_of_text(with_text[2], options) == with_text[1]:
        key = with_text[1]
    if key is not None:
        return Stated((key,))
    listed = listed_keys(plain, options, together=several) if several and len(plain) <= MAX_LISTED else None
    is_whole = listed is not None and len(folded(plain).split()) <= 2 * len(listed.keys)
    return listed if is_whole else None


def _loose(region: Region, setting: Setting, several: bool) -> list[tuple[Stated, Statement]]:
    """The last letter that stands alone; where several are right, all that stand alone in its sentence."""
    if region.degenerate:
        return []
    patterns = patterns_of(setting.options)
    found = list((patterns.lone_of_several if several else patterns.lone).finditer(region.text))
    if not found:
        return []
    last = found[-1]
    if not several:
        return [(Stated((last[1],)), Statement(last.group(), "loose"))]
    start = max((end.end() for end in SENTENCE_END.finditer(region.text, 0, last.start())), default=0)
    letters = tuple(dict.fromkeys(match[1] for match in found if match.start() >= start))
    return [(Stated(letters), Statement(region.text[start : last.end()].strip()[-MAX_LISTED:], "loose"))]
