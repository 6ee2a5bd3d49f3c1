"""Refuting by value: sound above all; what is equal is never refuted."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import sympy
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from distill.verifiers.maths.gold import read_gold
from distill.verifiers.maths.layers import LAYERS, by_formula
from distill.verifiers.maths.refute import is_refuted, values
from distill.verifiers.maths.rendering import engine_pair
from distill.verifiers.reading.boxes import complete_boxes
from distill.verifiers.setting import Setting
from distill.verifiers.workers.engine import Engine
from distill.verifiers.workers.pool import Pool

X, Y = sympy.symbols("x y", positive=True)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"-4", r"33\sqrt{30}"),
        (r"\sqrt{2}-1", r"\sqrt{2}+1"),
        (r"\frac{\pi}{4}", r"\frac{\pi}{3}"),
        ("x^8+x+1", r"6\sqrt{3}+6"),
        ("x_1+1", "x_2+1"),
        ("3-2f(x)", r"\frac{1}{144}"),
        (r"\sin 3x", "49"),
        (r"\sin(3x)", r"\sin x"),
        ("3+2i", "3-2i"),
        ("x=5", "6"),
        ("(1,2)", "3"),
        ("(1,2)", "(1,3)"),
        ("1,2", "1,2,3"),
        ("[0,1]", r"(0,\infty)"),
        (r"(-\infty,1)\cup(2,\infty)", "3"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 3 \end{pmatrix}"),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", "17"),
        (r"\sqrt[3]{9}", "3"),
    ],
)
def test_what_is_far_from_the_gold_is_refuted_in_both_directions(gold: str, answer: str) -> None:
    assert is_refuted(gold, answer)
    assert is_refuted(answer, gold)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("2(x+1)", "2x+2"),
        ("-1", r"\begin{vmatrix} 0&1\\1&0 \end{vmatrix}"),
        (r"\cos(\pi x)", r"\cos \pi x"),
        (r"\frac{\sqrt{2}}{2}", r"\sin \pi/4"),
        (r"x\ln 2", r"\ln 2 x"),
        (r"x\cos\theta", r"\cos\theta x"),
        (r"\ln((x-3)(x-4))", r"\ln(x-3)+\ln(x-4)"),
        (r"\sqrt{(x-3)(x-4)}", r"\sqrt{x-3}\sqrt{x-4}"),
        (r"\sqrt{10^{14}+1}+10^7", r"\frac{1}{\sqrt{10^{14}+1}-10^7}"),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
        (r"\frac{1}{3}", "0.333333"),
        (r"\sqrt{x^2}", "x"),
        (r"\sqrt{-4}", "2i"),
        ("-1", "i^2"),
        (r"\sin^2 x", r"1-\cos^2 x"),
        (r"\tan x", r"\frac{\sin x}{\cos x}"),
        (r"\ln(x^2)", r"2\ln x"),
        ("f(x)+1", "1+f(x)"),
        ("x=5", "5"),
        ("1,2", "2,1"),
        ("(1,2)", "1,2"),
        (r"\{1,2,2\}", "1,2"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1,2)"),
        # two readings, or none of the grammar: left to the engine
        ("1,234", "5"),
        ("1/2x", "7"),
        ("x^10", "7"),
        ("2 1/2", "7"),
        (r"2\frac{1}{2}", "7"),
        (r"\sin^{-1} x", "7"),
        ("11_2", "7"),
        (r"1\pm\sqrt{5}", "7"),
        (r"50\%", "7"),
        (r"90^\circ", "7"),
        ("x>3", "7"),
        ("y=2x", r"x=\frac{y}{2}"),
        (r"5\text{ cm}", "7"),
        (r"6.63\times10^{-34}", r"1.0\times10^{-34}"),
        ("[5]", "7"),
        ("5!", "7"),
        ("1/0", "7"),
        ("(10^{20}+1)-10^{20}", "2"),  # only rounding would part them from what they are
        (r"\sin(10^{9})", "7"),
        ("10^{400}", "7"),
        ("(-8)^{1/3}", "7"),
        ("", "7"),
        ("x+", "7"),
        ("(1,2", "7"),
    ],
)
def test_what_may_be_equal_or_read_otherwise_is_not(gold: str, answer: str) -> None:
    assert not is_refuted(gold, answer)
    assert not is_refuted(answer, gold)


@pytest.mark.parametrize(
    "text", ["(" * 5_000, r"\sqrt" * 5_000, "{" * 499, "9" * 499, "-" * 499, "x^" * 200, r"\frac" * 90]
)
def test_hostile_formulas_are_not_read(text: str) -> None:
    assert values(text) in ((), values(text)[:1])


expressions = st.recursive(
    st.sampled_from([X, Y, sympy.pi, sympy.E, sympy.I])
    | st.integers(-9, 9).map(sympy.Integer)
    | st.fractions(0, 3, max_denominator=7).map(sympy.Rational),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] + pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] * pair[1]),
        st.tuples(inner, st.integers(2, 3)).map(lambda pair: pair[0] ** pair[1]),
        st.sampled_from([X, Y, sympy.Integer(2), sympy.Integer(12)]).map(sympy.sqrt),
        st.sampled_from([X, 2 * X, Y]).map(sympy.sin),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(expressions)
def test_no_rewriting_of_a_formula_is_refuted(expression: sympy.Expr) -> None:
    written = sympy.latex(expression)
    for rewritten in (sympy.expand(expression), sympy.factor(expression), sympy.together(expression)):
        assert not is_refuted(written, sympy.latex(rewritten)), (written, sympy.latex(rewritten))


def test_the_engine_agrees_with_every_refutation_of_golds_against_one_another(shared_data: Path) -> None:
    lines = (shared_data / "math" / "math_test_5000.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    golds = [complete_boxes(row["solution"])[-1].content for row in rows]
    assert not [gold for gold in golds if is_refuted(*engine_pair(gold, gold))]
    pairs = [engine_pair(*pair) for pair in itertools.pairwise(golds[:400])]
    refuted = [pair for pair in pairs if is_refuted(*pair) and not all(text.lstrip("-").isdigit() for text in pair)]
    assert len(refuted) > 100
    engine = Engine()
    assert [pair for pair in refuted[::2] if engine.compare(*pair).equal] == []
    engine.close()


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\frac{10}{\sqrt{4}}", "5 m"),  # a unit
        (r"\sqrt{10^2}\cdot10^3", "1x10^5"),  # a number in another spelling
        (r"\sqrt{10^2}\cdot10^3", "1 x 10^5"),
        ("A", "(B)"),  # labels, by their letters
        (r"\frac{\sqrt{4}}{2}", r"1\%"),
        (r"\sqrt{4}", "x=2"),
        ("(1,2)", "1,3"),  # two lists
        (r"\pi", r"180^\circ"),
    ],
)
def test_a_pair_that_is_read_otherwise_elsewhere_is_no_pair_of_plain_formulas(gold: str, answer: str) -> None:
    assert by_formula(read_gold(gold), answer, Setting()) is None


TERMS = (
    "5", "x", "y", "2x", "x^2", r"\frac{1}{2}", r"\sqrt{2}", r"\pi", "5 m", "10", "3 x 10^3", "x10^3", "1,000", "1 000",
    "2 1/2", ".5", "i", "e", "A", "(B)", "(x+1)", "(1,2)", "[0,1)", r"\{1,2\}", r"\begin{pmatrix}1\\2\end{pmatrix}", "-4",
)  # fmt: skip
ANSWERS = st.builds(
    str.join,
    st.sampled_from(["", " ", "+", "-", "/", ",", ", ", " and ", r"\cdot ", r"\times ", "^"]),
    st.lists(st.sampled_from(TERMS), min_size=1, max_size=3),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(ANSWERS, ANSWERS)
def test_what_is_decided_of_plain_formulas_is_what_the_later_layers_say(gold: str, answer: str) -> None:
    reference, setting = read_gold(gold), Setting(engine=Engine(pool=Pool(0)))
    before, after = list(LAYERS)[: list(LAYERS).index("formula")], list(LAYERS)[list(LAYERS).index("formula") + 1 :]
    assume(not reference.problem and not any(LAYERS[name](reference, answer, setting) for name in before))
    decision = by_formula(reference, answer, setting)
    assume(decision)
    said = next(other for name in after if (other := LAYERS[name](reference, answer, setting)))  # never the engine
    assert decision.outcome == said.outcome == "incorrect"
