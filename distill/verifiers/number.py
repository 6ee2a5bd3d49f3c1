"""Verify answers that are one number: exact, and without the engine."""

from __future__ import annotations

import re
from functools import partial

from distill.records import Outcome, Problem, Verdict
from distill.verifiers.calculate import calculate
from distill.verifiers.extract import Region
from distill.verifiers.gold import over_limit, value_of
from distill.verifiers.guards import equation_sides, is_name
from distill.verifiers.latex import spaced
from distill.verifiers.loose import leading_number, loose_number
from distill.verifiers.numbers import is_rounded
from distill.verifiers.quantities import MAX_CHARACTERS, Quantity, read_quantity, read_sentence, same_quantity
from distill.verifiers.setting import Decision, Setting, correct, incorrect, judge_statement, unverified
from distill.verifiers.statements import Statement, math_statement, whole_statement

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
    reference = read_quantity(value_of(gold))
    if reference is None:
        return Verdict(Outcome.UNVERIFIED, reason="gold_unparsed")
    find = partial(_find, setting=setting)
    return judge_statement(text, setting, find, partial(_decide, reference, setting=setting))


def number_gold_problem(problem: Problem) -> str:
    """'gold_unparsed' when the gold is not one number, else ''."""
    return "" if read_quantity(value_of(problem.answer)) is not None else "gold_unparsed"


def _find(region: Region, setting: Setting) -> Statement | None:
    return (
        math_statement(region, setting.markers, in_parts=False, in_words=False)
        or whole_statement(region, lambda text: _read(text) is not None)
        or (loose_number(region.text) if setting.flexible else None)
    )


def _read(answer: str) -> Quantity | None:
    """The one number an answer says: itself, after a name and an equals sign, in a sentence, or worked out."""
    if len(answer) > MAX_CHARACTERS:
        return None
    answer = APPROXIMATELY.sub("", answer)
    return read_quantity(value_of(answer)) or read_sentence(answer) or _worked_out(answer)


def _worked_out(answer: str) -> Quantity | None:
    """The last side of a calculation that is right, such as '35/7 = 5'; one without a result is no number."""
    sides = equation_sides(spaced(APPROXIMATELY.sub("", answer)))
    if len(sides) > 1 and is_name(sides[0]):
        sides = sides[1:]
    values = [calculate(side) for side in sides]
    if len(values) < 2 or values[0] is None or len(set(values)) > 1:
        return None
    return read_quantity(sides[-1])


def _decide(gold: Quantity, answer: str, setting: Setting) -> Decision:
    too_long = over_limit(answer)
    if too_long:
        return unverified(too_long, "limits")
    quantity, note = _read(answer), ""
    if quantity is None and setting.flexible and (found := leading_number(answer)) is not None:
        quantity, note = read_quantity(found), "leading_number"
    if quantity is None:
        return incorrect("answer_unparsed", "number")
    same, about_unit = same_quantity(gold, quantity, strict_percent=setting.strict_percent)
    if about_unit.startswith("guard:"):
        return incorrect(about_unit, "number")
    if same is None:  # close, and written with a decimal point
        same = is_rounded(gold.number, quantity.number)
    return correct("number", "number", note or about_unit) if same else incorrect("number", "number")
