"""Verify answers that are text, exactly: what follows the marker, as it is or minus one final full stop."""

from __future__ import annotations

from functools import partial

from distill.records import Outcome, Problem, Verdict
from distill.verifiers.boxes import complete_boxes
from distill.verifiers.extract import Region
from distill.verifiers.latex import unwrap
from distill.verifiers.quantities import WRAPPER
from distill.verifiers.setting import Decision, Setting, correct, incorrect, judge_statement
from distill.verifiers.statements import ANSWER_IS, FINAL, Statement, json_answer, marker_pattern

MAX_BARE_CHARACTERS = 100
MAX_BARE_WORDS = 12


def verify_text(text: str, gold: str, setting: Setting | None = None) -> Verdict:
    r"""Judge a completion whose answer must be the gold letter by letter: case and inner spaces count.

    >>> from distill.verifiers.setting import Setting
    >>> setting = Setting(markers=("So the answer is",))
    >>> verify_text("Sorted. So the answer is abc ada.", "abc ada", setting).outcome.value
    'correct'
    >>> verify_text("Both are valid, I think. It cannot be told.", "valid", setting).reason
    'no_marker'
    """
    setting = setting or Setting()
    gold = gold.strip()
    if not gold:
        return Verdict(Outcome.UNVERIFIED, reason="gold_unparsed")
    return judge_statement(text, setting, partial(_find, setting=setting), partial(_decide, gold))


def text_gold_problem(problem: Problem) -> str:
    """'gold_unparsed' when the gold is empty, else ''."""
    return "" if problem.answer.strip() else "gold_unparsed"


def _find(region: Region, setting: Setting) -> Statement | None:
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


def _decide(gold: str, answer: str) -> Decision:
    plain = WRAPPER.sub(r"\1", unwrap(answer)).strip()
    same = gold in {answer, answer.removesuffix("."), plain}
    return correct("text", "words") if same else incorrect("text", "words")
