"""Verify answers that are mathematics: formulas, numbers, sets, matrices, and words among such."""

from __future__ import annotations

import re
from functools import partial

from distill.records import Outcome, Problem, Verdict
from distill.verifiers.maths.gold import Gold, read_gold
from distill.verifiers.maths.latex import unwrap
from distill.verifiers.maths.layers import by_leading_number, compare
from distill.verifiers.maths.quantities import read_quantity, read_sentence
from distill.verifiers.maths.rendering import as_engine_text
from distill.verifiers.reading.extract import Region
from distill.verifiers.reading.loose import loose_statement
from distill.verifiers.reading.spelling import respelled, respelled_region
from distill.verifiers.reading.statements import Statement, math_statement, whole_statement
from distill.verifiers.setting import Decision, Setting, engine_options, judge_statement

MAX_BARE_CHARACTERS = 300
MAX_BARE_WORDS = 4
PLAIN_WORD = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{3,}")


def verify_math(text: str, gold: str, setting: Setting | None = None) -> Verdict:
    r"""Judge a completion whose answer is mathematics.

    >>> verify_math(r"<think>7-4=3</think><answer>\boxed{3.0}</answer>", "3").reason
    'number'
    """
    setting = setting or Setting()
    reference = read_gold(respelled(gold, setting.policy))
    if reference.problem:
        return Verdict(Outcome.UNVERIFIED, reason=reference.problem)
    find = partial(find_statement, gold=reference, setting=setting)
    return judge_statement(text, setting, find, partial(decide, reference, setting=setting))


def decide(gold: Gold, answer: str, setting: Setting) -> Decision:
    """The decision about one answer; for the flexible score an ill-formed one may still lead with the right number."""
    decision = compare(gold, answer, setting)
    if setting.flexible and decision.outcome is Outcome.INCORRECT:
        return by_leading_number(gold, answer) or decision
    return decision


def find_statement(region: Region, gold: Gold, setting: Setting) -> Statement | None:
    """What a region states as its answer to a problem with this gold; None when it states none."""
    region = respelled_region(region, setting.policy)
    return (
        math_statement(region, setting.markers, in_parts=gold.has_parts, in_words=gold.is_words)
        or whole_statement(region, is_bare_answer)
        or (loose_statement(region.text) if setting.flexible and not gold.is_words else None)
    )


def is_bare_answer(text: str) -> bool:
    r"""True when a text is nothing but an answer: a number, a formula, a few words, one short sentence about a number.

    >>> is_bare_answer("$x = 3$"), is_bare_answer("18 dollars"), is_bare_answer("First 3 + 4 = 7. Then 7 * 2 = 14.")
    (True, True, False)
    """
    if len(text) > MAX_BARE_CHARACTERS or "\n\n" in text:
        return False
    is_one_formula = text.startswith(("$", "\\(", "\\[")) and unwrap(text) != text.removesuffix(".")
    if is_one_formula or read_quantity(text) is not None or read_sentence(text) is not None:
        return True
    return len(PLAIN_WORD.findall(text)) <= MAX_BARE_WORDS and ". " not in text


def math_gold_problem(problem: Problem, setting: Setting) -> str:
    """Why no completion can be verified against this problem's gold; '' when one can.

    A gold that is no number and no words is put to the engine, which is the only one to know.
    """
    gold = read_gold(respelled(problem.answer, setting.policy))
    if gold.problem or gold.quantity is not None or gold.is_words:
        return gold.problem
    return setting.engine.compare(as_engine_text(gold.text), None, engine_options(setting.policy)).reason
