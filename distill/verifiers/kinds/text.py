"""Verify answers that are text, exactly: what follows the marker, as it is or minus one final full stop."""

from __future__ import annotations

import re
from functools import partial

from distill.records import Outcome, Problem, Verdict
from distill.verifiers.kinds.text_match import normalised, same_text
from distill.verifiers.maths.latex import is_balanced
from distill.verifiers.reading.boxes import complete_boxes
from distill.verifiers.reading.extract import Region
from distill.verifiers.reading.statements import ANSWER_IS, FINAL, Statement, json_answer, marker_pattern
from distill.verifiers.setting import Decision, Setting, correct, incorrect, judge_statement

BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
MAX_BARE_CHARACTERS = 100
MAX_BARE_WORDS = 12


def verify_text(text: str, gold: str, setting: Setting | None = None) -> Verdict:
    r"""Judge a completion whose answer must be the gold letter by letter: case and inner spaces count.

    With the policy ``text: normalised`` it must only have the gold's words.

    >>> from distill.verifiers.setting import Setting
    >>> setting = Setting(markers=("So the answer is",))
    >>> verify_text("Sorted. So the answer is abc ada.", "abc ada", setting).outcome.value
    'correct'
    >>> verify_text("Both are valid, I think. It cannot be told.", "valid", setting).reason
    'no_marker'
    >>> verify_text(r"So it is \boxed{B}.", "(B)").outcome.value
    'correct'
    """
    setting = setting or Setting()
    gold = gold.strip()
    if not gold:
        return Verdict(Outcome.UNVERIFIED, reason="gold_unparsed")
    if setting.policy.text == "normalised":
        wanted = normalised(gold)
        find = partial(_find_words, wanted=wanted, setting=setting)
        return judge_statement(text, setting, find, lambda answer: _decision(normalised(answer) == wanted))
    find = partial(find_text if is_balanced(gold, len(gold)) else _find_with_braces, setting=setting)
    return judge_statement(text, setting, find, lambda answer: _decision(same_text(gold, answer)))


def text_gold_problem(problem: Problem) -> str:
    """'gold_unparsed' when the gold is empty, else ''."""
    return "" if problem.answer.strip() else "gold_unparsed"


def find_text(region: Region, setting: Setting) -> Statement | None:
    r"""The last JSON answer, box or marker; else the region, if it can be nothing but an answer.

    The general markers serve a source that has none of its own. Such a source may have answers of any
    length, too, so that the whole region is taken for one.
    """
    found = json_answer(region.text)
    if found is not None:
        return Statement(found[0], "json")
    boxes = complete_boxes(region.text)
    if boxes:
        return Statement(boxes[-1].content.strip(), "boxed")
    pattern = marker_pattern(setting.markers, general="" if setting.markers else f"{FINAL}|{ANSWER_IS}")
    ends = [match.end() for match in pattern.finditer(region.text)]
    if ends:
        stated = region.text[ends[-1] :].strip(" \t\r\n:：*")
        return None if region.truncated else Statement(stated, "marker")
    whole = region.text.strip()
    if region.tagged:
        return Statement(whole, "tagged")
    is_short = len(whole) <= MAX_BARE_CHARACTERS and len(whole.split()) <= MAX_BARE_WORDS and "\n" not in whole
    is_bare = not region.truncated and ((is_short and ". " not in whole) or not setting.markers)
    return Statement(whole, "bare") if is_bare else None


def _find_with_braces(region: Region, setting: Setting) -> Statement | None:
    r"""As ``find_text``, for a gold such as '] }', whose own braces end its box too early: it ends with its line.

    >>> _find_with_braces(Region(r"So it is \boxed{] }}, of course."), Setting()).answer
    '] }'
    """
    starts = [box.end() for box in BOX.finditer(region.text)]
    line = region.text[starts[-1] :].partition("\n")[0] if starts else ""
    return Statement(line.rpartition("}")[0].strip(), "boxed") if "}" in line else find_text(region, setting)


def _find_words(region: Region, wanted: str, setting: Setting) -> Statement | None:
    """As ``find_text``; but a region that has just the gold's words is an answer, even one that holds a marker."""
    if not region.truncated and normalised(region.text) == wanted:
        return Statement(region.text.strip(), "bare")
    return find_text(region, setting)


def _decision(same: bool) -> Decision:
    return correct("text", "words") if same else incorrect("text", "words")
