r"""The policies of judging: what each of them changes, and what is said about a wrong one."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields
from typing import Any

import pytest

from distill.errors import DistillError
from distill.records import Problem
from distill.verifiers import policy as policy_module
from distill.verifiers.maths.math import verify_math
from distill.verifiers.maths.number import number_gold_problem, verify_number
from distill.verifiers.policy import Policy, read_policy
from distill.verifiers.setting import Setting, engine_options
from distill.verifiers.workers.engine import EngineOptions


def judged(gold: str, answer: str, policy: Policy | None = None) -> tuple[str, str]:
    verdict = verify_math(rf"\boxed{{{answer}}}", gold, Setting(policy=policy or Policy()))
    return verdict.outcome.value, verdict.reason


def test_the_policy_of_no_options_is_the_default_and_of_some_differs_in_these_alone() -> None:
    assert read_policy({}) == Policy()
    assert read_policy({"percent": "strict", "guard_unit": False}) == Policy(percent="strict", guard_unit=False)
    assert read_policy({"relative_tolerance": 0, "float_rounding": 3}).float_rounding == 3


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"percnt": "strict"}, "no option 'verifier.options.percnt'", "did you mean 'percent'?"),
        ({"colour": 1}, "no option 'verifier.options.colour'", "known: percent, "),
        ({"percent": "stric"}, "'verifier.options.percent' is 'stric', expected one of", "did you mean 'strict'?"),
        ({"percent": True}, "is 'True', expected one of 'lenient', 'strict'", "the default is 'lenient'"),
        ({"guard_base": "off"}, "is 'off', expected true or false", "the default is true"),
        ({"guard_base": 0}, "is '0', expected true or false", "the default is true"),
        ({"float_rounding": 2.5}, "is '2.5', expected a whole number from 0 to 15", "the default is 6"),
        ({"float_rounding": True}, "is 'True', expected a whole number", "the default is 6"),
        ({"relative_tolerance": 0.5}, "is '0.5', expected a number from 0 to 0.1", "the default is 1e-05"),
        ({"relative_tolerance": float("nan")}, "is 'nan', expected a number", "the default is 1e-05"),
        ({"list_order": ["any"]}, "expected one of 'any', 'gold'", "did you mean 'any'?"),
    ],
)
def test_a_wrong_option_is_named_with_what_was_expected(options: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(DistillError) as raised:
        read_policy(options)
    assert message in str(raised.value)
    assert hint in (raised.value.hint or "")


def test_every_policy_says_its_reason_below_it() -> None:
    (definition,) = [
        node for node in ast.parse(inspect.getsource(policy_module)).body if isinstance(node, ast.ClassDef)
    ]
    body = definition.body[1:]  # behind the docstring of the class
    named = [
        node.target.id for node in body[::2] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    assert named == [field.name for field in fields(Policy)]
    assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body[1::2])


def test_what_the_engine_applies_is_handed_to_it() -> None:
    assert engine_options(Policy()) == EngineOptions()
    policy = Policy(float_rounding=2, set_relations=False, strict_engine=False, guard_magnitude=False)
    assert engine_options(policy) == EngineOptions(2, set_relations=False, strict=False, guard_magnitude=False)
    assert engine_options(Policy(relative_tolerance=0.01)) == EngineOptions(relative_tolerance=0.01)


# Each row: the guard, a gold, an answer that it turns down, and what the engine alone would say.
@pytest.mark.parametrize(
    ("guard", "gold", "answer", "reason", "without"),
    [
        ("magnitude", "0.0000001", "0.0000002", "number", "correct"),
        ("magnitude", r"6.63\times10^{-34}", r"1.0\times10^{-34}", "number", "correct"),
        ("magnitude", "10^{-20}", "10^{-30}", "number", "correct"),
        ("magnitude", "1/2^{99}", "1/2^{98}", "guard:magnitude", "correct"),
        ("magnitude", "1/2004!", "1/2006!", "guard:magnitude", "correct"),
        ("words", "listen", "silent", "text", "correct"),
        ("words", "A", "a", "letter", "correct"),
        ("equation", "7", "8=7", "guard:equation", "correct"),
        ("equation", "4", r"\frac62=4", "guard:equation", "correct"),
        ("equation", "3", "2+2=3", "guard:equation", "correct"),
        ("equation", "0", "x+1=0", "guard:equation", "correct"),
        ("relation", "5", r"\neq 5", "guard:relation", "incorrect"),  # in a box the engine reads nothing
        ("bracket", "5", "[5]", "guard:bracket", "correct"),
        ("base", "11_2", "11_3", "number", "correct"),
        ("base", "11", "11_2", "number", "correct"),
        ("unit", "5 cm", "5 m", "guard:unit", "correct"),
        ("unit", "15 cm^2", "15 m^2", "guard:unit", "correct"),
        ("unit", "15 cm^2", "15 cm", "guard:unit", "correct"),
        ("multiset", "2,2,3", "2,3", "guard:multiset", "correct"),
        ("multiset", "x,x,3", "x,3", "guard:multiset", "correct"),
        ("braces", "(1,2)", r"\{1,2\}", "guard:braces", "correct"),
        ("braces", r"\{1,2\}", "(1,2)", "guard:braces", "correct"),
    ],
)
def test_a_guard_turns_down_what_passes_without_it(
    guard: str, gold: str, answer: str, reason: str, without: str
) -> None:
    assert judged(gold, answer) == ("incorrect", reason)
    assert judged(gold, answer, read_policy({f"guard_{guard}": False}))[0] == without


@pytest.mark.parametrize(
    "gold", ["11_2", r"1/2^{99}", "listen", "A", "5 cm", "2,2,3", r"\{1,2\}", "7", "[5]", r"x \neq 5"]
)
def test_no_guard_turns_down_the_gold_itself(gold: str) -> None:
    assert judged(gold, gold)[0] == "correct"


def test_bases_are_compared_by_value_only_with_their_guard() -> None:
    assert judged("3", "11_2") == ("correct", "number")
    assert judged("3", "11_2", Policy(guard_base=False))[0] == "incorrect"
    assert judged("11_2", "11") == ("correct", "number:base_omitted")


def test_percent_is_lenient_or_strict() -> None:
    strict = Policy(percent="strict")
    assert judged("50", r"50\%") == ("correct", "number:percent_omitted")
    assert judged(r"50\%", "50") == ("correct", "number:percent_omitted")
    assert judged("50", r"50\%", strict)[0] == judged(r"50\%", "50", strict)[0] == "incorrect"
    assert judged("0.5", r"50\%", strict) == judged("0.5", r"50\%") == ("correct", "number")
    assert verify_number("#### 60%", "60", Setting(policy=strict)).outcome == "incorrect"


def test_a_list_may_stand_in_any_order_or_must_in_the_golds() -> None:
    in_order = Policy(list_order="gold")
    for gold, same, turned in [
        ("1, 2", "1 and 2", "2, 1"),
        (r"\sqrt{2}, x", r"\sqrt{2}, x", r"x, \sqrt{2}"),
        ("red, blue", "red and blue", "blue, red"),
    ]:
        assert judged(gold, turned)[0] == judged(gold, same, in_order)[0] == "correct"
        assert judged(gold, turned, in_order)[0] == "incorrect"
    assert judged(r"\sqrt{2}, x", "y, x", in_order)[0] == judged("1, 2", "1", in_order)[0] == "incorrect"
    assert judged(r"\{1,2\}", "2, 1", in_order)[0] == "correct"  # a set has no order
    assert judged("(1, 2)", "(2, 1)")[0] == "incorrect"  # and a tuple always has one


@pytest.mark.parametrize(
    ("gold", "answer", "with_comma"),
    [
        ("1000.99", "1000,99", "correct"),
        ("1,22", "1.22", "correct"),
        ("1.5", "1{,}5", "correct"),
        ("1234.5", "1.234,5", "correct"),
        ("(1,2)", "(1,2)", "correct"),  # a comma in brackets parts two numbers
        (r"\{1,2\}", "2;1", "correct"),
        ("1234", "1,234", "incorrect"),
        ("1, 2", "2, 1", "correct"),
    ],
)
def test_a_decimal_comma_is_read_where_it_is_asked_for(gold: str, answer: str, with_comma: str) -> None:
    assert judged(gold, answer, Policy(decimal_comma=True))[0] == with_comma


def test_without_the_policy_a_comma_parts_numbers_or_groups_digits() -> None:
    assert judged("1.2", "1,2")[0] == "incorrect"
    assert judged("1, 2", "1,2")[0] == judged("1234", "1,234")[0] == "correct"
    assert verify_number("#### 2,74", "2.74").outcome == "incorrect"
    assert verify_number("#### 2,74", "2.74", Setting(policy=Policy(decimal_comma=True))).outcome == "correct"


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("10", "ten"),
        ("25", r"\text{Twenty-five}"),
        ("ten", "10"),
        ("205", "two hundred and five"),
        ("3", "three apples"),
    ],
)
def test_number_words_are_read_where_they_are_asked_for(gold: str, answer: str) -> None:
    assert judged(gold, answer)[0] == "incorrect"
    assert judged(gold, answer, Policy(number_words=True))[0] == "correct"


def test_number_words_are_read_in_sentences_and_golds_too() -> None:
    reading = Policy(number_words=True)
    text = "The answer is twelve."
    assert verify_number(text, "12").reason == "no_marker"
    assert verify_number(text, "twelve", Setting(policy=reading)).outcome == "correct"
    assert number_gold_problem(Problem("1", "?", "twelve")) == "gold_unparsed"
    assert number_gold_problem(Problem("1", "?", "twelve"), reading) == ""


def test_the_tolerance_bounds_how_far_decimals_may_lie_apart() -> None:
    assert judged("1/3", "0.3333")[0] == "incorrect"
    assert judged("1/3", "0.3333", Policy(relative_tolerance=1e-3, float_rounding=3))[0] == "correct"
    assert judged("1/3", "0.333333")[0] == "correct"
    assert judged("1/3", "0.333333", Policy(relative_tolerance=0))[0] == "incorrect"


def test_a_set_may_be_said_as_a_relation_or_not() -> None:
    literal = Policy(set_relations=False)
    for gold, answer in [(r"(3,\infty)", "x>3"), (r"(-\infty,1)\cup(2,\infty)", r"x<1 \text{ or } x>2")]:
        assert judged(gold, answer)[0] == "correct"
        assert judged(gold, answer, literal)[0] == "incorrect"
