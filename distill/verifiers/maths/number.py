"""Verify answers that are one number: exact, and without the engine."""

from __future__ import annotations

import re
from functools import partial

from distill.records import Outcome, Problem, Verdict
from distill.verifiers.maths.abstain import is_abstention_gold, verify_abstention
from distill.verifiers.maths.gold import over_limit, value_of
from distill.verifiers.maths.numbers import is_rounded
from distill.verifiers.maths.quantities import MAX_CHARACTERS, Quantity, read_quantity, read_sentence, same_quantity
from distill.verifiers.maths.results import read_answer, sentences, worked_out
from distill.verifiers.policy import Policy
from distill.verifiers.reading.extract import Region
from distill.verifiers.reading.loose import leading_number, loose_number
from distill.verifiers.reading.spelling import respelled, respelled_region
from distill.verifiers.reading.statements import Statement, math_statement, whole_statement
from distill.verifiers.setting import Decision, Setting, correct, incorrect, judge_statement, unverified

APPROXIMATELY = re.compile(r"^\s*(?:\\approx|≈|~|approximately|about|exactly)\s*", re.IGNORECASE)


def verify_number(text: str, gold: str, setting: Setting | None = None) -> Verdict:
    r"""Judge a completion whose answer is one number.

    29.00 is 29, 1,234 is 1234 and \frac{1}{2} is 0.5; 0.333333 is a third, because a third has no end.

    >>> verify_number("She sells 9 eggs.\n#### $18.00", "18").outcome.value
    'correct'
    >>> verify_number("<answer>120 feet in 40 seconds</answer>", "120").reason
    'answer_unparsed'
    """
    setting = setting or Setting()
    if is_abstention_gold(gold):
        return verify_abstention(text, setting)
    reference = read_quantity(value_of(respelled(gold, setting.policy)))
    if reference is None:
        return Verdict(Outcome.UNVERIFIED, reason="gold_unparsed")
    find = partial(_find, setting=setting)
    return judge_statement(text, setting, find, partial(_decide, reference, setting=setting))


def number_gold_problem(problem: Problem, policy: Policy = Policy()) -> str:
    """'gold_unparsed' when the gold is neither one number nor 'None', the answer of what cannot be solved; else ''."""
    answer = respelled(problem.answer, policy)
    is_gold = is_abstention_gold(answer) or read_quantity(value_of(answer)) is not None
    return "" if is_gold else "gold_unparsed"


def _find(region: Region, setting: Setting) -> Statement | None:
    region = respelled_region(region, setting.policy)
    return (
        math_statement(region, setting.markers, in_parts=False, in_words=False)
        or whole_statement(region, _is_bare)
        or (loose_number(region.text) if setting.flexible else None)
    )


def _is_bare(text: str) -> bool:
    """True for a text that is nothing but its answer; prose that comes to a conclusion is more."""
    if len(text) > MAX_CHARACTERS:
        return False
    text = APPROXIMATELY.sub("", text)
    if read_quantity(value_of(text)) is not None or read_sentence(text) is not None:
        return True
    sentence, *others = sentences(text)
    return not others and worked_out(sentence) is not None


def _decide(gold: Quantity, answer: str, setting: Setting) -> Decision:
    too_long = over_limit(answer)
    if too_long:
        return unverified(too_long, "limits")
    quantity, note = read_answer(APPROXIMATELY.sub("", answer)), ""
    if quantity is None and setting.flexible and (found := leading_number(answer)) is not None:
        quantity, note = read_quantity(found), "leading_number"
    if quantity is None:
        return incorrect("answer_unparsed", "number")
    same, about_unit = same_quantity(gold, quantity, setting.policy)
    if about_unit.startswith("guard:"):
        return incorrect(about_unit, "number")
    if same is None:  # close, and written with a decimal point
        same = is_rounded(gold.number, quantity.number)
    return correct("number", "number", note or about_unit) if same else incorrect("number", "number")
