r"""Mathematical answers: what is equal, what is not, and by which layer. Both sides stand in a box unless said otherwise."""

from __future__ import annotations

import pytest

from distill.records import Verdict
from distill.verifiers import verify
from distill.verifiers.maths.calculate import calculate
from distill.verifiers.maths.gold import read_gold
from distill.verifiers.maths.latex import canonical
from distill.verifiers.maths.layers import compare
from distill.verifiers.maths.math import verify_math
from distill.verifiers.maths.numbers import read_number
from distill.verifiers.maths.quantities import read_quantity
from distill.verifiers.maths.words import is_words
from distill.verifiers.policy import Policy
from distill.verifiers.setting import Setting
from distill.verifiers.workers.engine import EngineOptions, EngineReply


class NoEngine:
    """Stands where the engine would, and must not be asked."""

    def compare(self, gold: str, answer: str | None, *_: EngineOptions) -> EngineReply:
        raise AssertionError(f"the engine was asked about {gold!r} and {answer!r}")


def boxed(answer: str, gold: str) -> Verdict:
    return verify(rf"So it is \boxed{{{answer}}}.", gold)


def fast(gold: str, answer: str) -> tuple[str, str]:
    """The decision of the layers that need no engine."""
    decision = compare(read_gold(gold), answer, Setting(engine=NoEngine()))  # type: ignore[arg-type]
    return decision.outcome.value, decision.reason


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\frac{1}{2}", r"\dfrac12"),
        (r"\frac{\pi}{4}", r"\frac \pi4"),
        (r"111,111,111", r"111, \! 111, \! 111"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
        ("x^2 + 1", "$x^2+1$."),
        ("-x", "−x"),
        (r"12{,}000 + x", r"12,\!000+x"),
        ("{1, 2, 3}", "1,2,3"),
        (r"\frac{\sqrt{2}}{2}", r"\\frac{\\sqrt{2}}{2}"),  # escaped twice
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    ],
)
def test_the_same_text_written_otherwise_is_correct_by_string(gold: str, answer: str) -> None:
    assert fast(gold, answer) == ("correct", "string")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2 1/2", "21/2"),
        ("32, 349", "32,349"),
        ("(a+5)(b+2)", "(+5)(b+2)"),
        ("a", "A"),
        ("5 m", "5"),
        ("[1,2)", "(1,2)"),
    ],
)
def test_rewriting_never_makes_two_answers_one(first: str, second: str) -> None:
    assert canonical(first) != canonical(second)


@pytest.mark.parametrize(
    ("gold", "answer", "outcome", "reason"),
    [
        ("29", "29.00", "correct", "number"),
        ("1000", "1,000", "correct", "number"),
        ("1000", r"1\,000", "correct", "number"),
        ("1000", "1 000", "correct", "number"),
        ("0", r"1\,000", "incorrect", "number"),
        ("5/2", "2 1/2", "correct", "number"),
        ("3/2", "2 1/2", "incorrect", "number"),
        (r"\frac{9}{5}", r"1\frac{4}{5}", "correct", "number"),
        ("100000", "1e5", "correct", "number"),
        ("1", "1e5", "incorrect", "number"),
        ("-3", "−3", "correct", "string"),
        ("4", "004", "correct", "number"),
        ("3", "3.", "correct", "string"),
        ("0.0000001", "0.0000002", "incorrect", "number"),
        (r"6.63\times10^{-34}", r"1.0\times10^{-34}", "incorrect", "number"),
        (r"10^{-20}", r"10^{-30}", "incorrect", "number"),
        (r"6.02\times10^{23}", "6.02e23", "correct", "number"),
        ("32349", "32,349", "correct", "number"),
        ("x=5", "5", "correct", "number"),
        ("5", "x_1 = 5", "correct", "number"),
        ("5", "x = 6", "incorrect", "number"),
        ("1/3", "0.33", "incorrect", "number"),
        # percent
        ("50", r"50\%", "correct", "number:percent_omitted"),
        (r"50\%", "50", "correct", "number:percent_omitted"),
        ("0.5", r"50\%", "correct", "number"),
        (r"28\%", "28 percent", "correct", "number"),
        ("51", r"50\%", "incorrect", "number"),
        (r"30\%", r"30^\circ", "incorrect", "guard:unit"),
        # units
        ("18", "18 dollars", "correct", "number:unit_omitted"),
        (r"\$36", "36", "correct", "number:unit_omitted"),
        (r"15\mbox{ cm}^2", r"15\text{ square centimeters}", "correct", "number"),
        ("5 cm", "5 m", "incorrect", "guard:unit"),
        ("15 cm^2", "15 cm", "incorrect", "guard:unit"),
        ("5 apples", "5 pears", "correct", "number:unit_differs"),
        (r"90^\circ", "90", "correct", "number:unit_omitted"),
        ("18", r"She makes \$18 per day", "correct", "number"),
        # bases
        ("11_2", "11_3", "incorrect", "number"),
        ("3", "11_2", "correct", "number"),
        ("11", "11_2", "incorrect", "number"),
        ("11_2", "11", "correct", "number:base_omitted"),
        ("11_2", "3", "incorrect", "number"),
        # times of day
        ("12:00", "1:00", "incorrect", "number"),
        ("3:30 pm", "3:30", "correct", "number"),
        # words
        (r"\text{Evelyn}", "Evelyn", "correct", "text"),
        ("Evelyn", "evelyn", "correct", "text"),
        (r"\text{(C)}", "C", "correct", "letter"),
        ("A", "a", "incorrect", "letter"),
        ("listen", "silent", "incorrect", "text"),
        ("abc", "cab", "incorrect", "text"),
        ("10", "ten", "incorrect", "text"),
        ("x + 1", "undefined", "incorrect", "text"),
        ("160", "Cannot be determined", "incorrect", "text"),  # 'det' is no function here
        (r"\text{even}", "2", "incorrect", "text"),
        # guards
        ("5", r"\neq 5", "incorrect", "guard:relation"),
        ("5", "[5]", "incorrect", "guard:bracket"),
        ("2,2,3", "2,3", "incorrect", "guard:multiset"),
        ("(1,2)", r"\{1,2\}", "incorrect", "guard:braces"),
        ("7", "8=7", "incorrect", "guard:equation"),
        ("3", "2+2=3", "incorrect", "guard:equation"),
        ("4", r"\frac62=4", "incorrect", "guard:equation"),
        ("0", "x+1=0", "incorrect", "guard:equation"),
        # limits
        ("5", "9" * 500, "unverified", "too_long"),
        ("5", "{" * 60 + "5" + "}" * 60, "unverified", "too_long"),
        ("5", "1 " * 1500, "unverified", "too_long"),
    ],
)
def test_the_fast_layers_decide_without_the_engine(gold: str, answer: str, outcome: str, reason: str) -> None:
    assert fast(gold, answer) == (outcome, reason)


@pytest.mark.parametrize(
    ("gold", "answer", "outcome"),
    [
        ("x+1", "1+x", "correct"),
        ("2(x+1)", "2x+2", "correct"),
        ("1/3", "0.333333", "correct"),
        (r"\sqrt{2}", "1.414", "incorrect"),
        (r"3\sqrt2", "3√2", "correct"),
        (r"3\sqrt2", "3*sqrt(2)", "correct"),
        ("-2+7i", "-2 + 7i.", "correct"),
        ("7", "-2 + 7i.", "incorrect"),
        ("26000", "1000(26)", "correct"),
        ("1026", "1000(26)", "incorrect"),
        ("5e", "1e5", "incorrect"),
        ("1.2", "1,2", "incorrect"),
        ("2i", "2", "incorrect"),
        (r"2\mathrm{i}", "2", "incorrect"),  # the engine drops it like a unit
        (r"1-\frac1{\mathrm e}", r"1+\frac1{\mathrm e}", "incorrect"),
        (r"1-\frac1{\mathrm e}", r"\frac{e-1}{e}", "correct"),
        (r"1/2^{99}", r"1/2^{98}", "incorrect"),
        (r"1/2004!", r"1/2006!", "incorrect"),
        ("0", r"\sqrt{4}-2", "correct"),
        ("4", r"2+\sqrt{4}=4", "correct"),
        ("4", r"3+\sqrt{4}=4", "incorrect"),
        ("3", "x=2+2=3", "correct"),
        ("11", "x = 5+5+1 = 11", "correct"),
        ("5", r"\frac{35}{7} = 5", "correct"),
        ("x=5", "y=5", "incorrect"),
        ("1331 and 1728", "1728", "incorrect"),
        ("1331 and 1728", "1728, 1331", "correct"),
        ("x=1, x=2", r"x=2 \text{ or } x=1", "correct"),
        ("100, 200", "100,200", "correct"),
        ("(1,2)", "1,2", "correct"),
        (r"\{1,2\}", "2,1", "correct"),
        ("(1,2)", "(2,1)", "incorrect"),
        (r"\emptyset", r"\varnothing", "correct"),
        (r"\begin{pmatrix} 1 & 2 \end{pmatrix}", "(1,2)", "correct"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1,2)", "correct"),
        (r"(3,\infty)", "x>3", "correct"),
        (r"\infty", "infinity", "correct"),
        (r"\pi/2", r"90^\circ", "correct"),
        (r"90^\circ", r"\frac{\pi}{2}", "correct"),
        ("ab", "ba", "correct"),
        ("10", "1010_2", "correct"),
        ("5", "@", "incorrect"),
        ("18", "It is not 18", "incorrect"),
    ],
)
def test_the_engine_decides_what_the_fast_layers_leave_open(gold: str, answer: str, outcome: str) -> None:
    assert boxed(answer, gold).outcome == outcome


@pytest.mark.parametrize(
    ("text", "gold", "outcome"),
    [
        ("<answer>42</answer>", "42", "correct"),
        ("</think>5", "5", "correct"),
        ("<think>maybe 17</think><answer>42</answer>", "17", "incorrect"),
        ("−3", "-3", "correct"),
        ("3*sqrt(2)", r"3\sqrt2", "correct"),
        (r"She makes \$18 per day", "18", "correct"),
        ("The final answer is Evelyn", "Evelyn", "correct"),
        ("1331 and 1728", "1728", "incorrect"),
        ("1,2", "1.2", "incorrect"),
        ("1e5", "1", "incorrect"),
        ("1e5", "100000", "correct"),
        (r"$1+\frac1{\mathrm e}$", r"1-\frac1{\mathrm e}", "incorrect"),
        ("5 so 5 so " * 200, "5", "no_answer"),  # a number in a loop answers nothing
        (r"\boxed{3}" + "\n\n" + r"\boxed{5}", "5", "correct"),  # near boxes are no set
        (r"\boxed{3}" + "\n\n" + r"\boxed{5}", "3", "incorrect"),
    ],
)
def test_answers_that_stand_raw_in_a_completion(text: str, gold: str, outcome: str) -> None:
    assert verify(text, gold).outcome == outcome


def test_an_ill_formed_answer_is_wrong_strictly_and_right_flexibly() -> None:
    text = "<answer>120 feet in 40 seconds</answer>"
    assert verify_math(text, "120").outcome == "incorrect"
    assert verify_math(text, "120", Setting(flexible=True)).outcome == "correct"
    assert verify_math(text, "40", Setting(flexible=True)).outcome == "incorrect"


def test_percent_can_be_strict() -> None:
    strict = Setting(policy=Policy(percent="strict"))
    assert verify_math(r"\boxed{50\%}", "50", strict).outcome == "incorrect"
    assert verify_math(r"\boxed{50\%}", "0.5", strict).outcome == "correct"


@pytest.mark.parametrize("gold", ["", " ", "@@@", r"\frac{1}{", "}{", "9" * 500, "x" * 3000])
@pytest.mark.parametrize("answer", ["5", "@@@", r"\frac{1}{2}"])
def test_a_gold_that_cannot_be_read_is_never_right_and_never_wrong(gold: str, answer: str) -> None:
    verdict = boxed(answer, gold)
    assert verdict.outcome == "unverified"
    assert verdict.reason == ("too_long" if len(gold) > 100 else "gold_unparsed")


def test_a_gold_that_only_the_engine_finds_unreadable_is_unverified_too() -> None:
    assert boxed("5", "3 @ 4 + x").reason == "gold_unparsed"


def test_a_verdict_says_where_and_how() -> None:
    verdict = verify(r"So \boxed{18.0}.<|im_end|>user", "18")
    assert verdict == Verdict(verdict.outcome, "18.0", "number", "boxed:cut", "number")


@pytest.mark.parametrize(
    "gold", ["18", "-3/4", r"\frac{1}{2}", "1,234.5", r"25\%", "5 cm", "Evelyn", r"\text{(B)}", "12:30", "11_2"]
)
def test_a_gold_verifies_against_itself_without_the_engine(gold: str) -> None:
    assert fast(gold, gold)[0] == "correct"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.48 - (16 * 0.03)", "12"),
        ("2+3*4^2", "50"),
        ("-2^2", "-4"),
        ("2^3^2", "512"),
        (r"3 \times \frac{1}{2}", "3/2"),
    ],
)
def test_arithmetic_is_worked_out_exactly(text: str, value: str) -> None:
    assert str(calculate(text)) == value


@pytest.mark.parametrize(
    "text", ["", "x", "2 3", "((1)", "1/0", "0^(-1)", "9^9^9^9", "(" * 30 + "1" + ")" * 30, "1;2", "1_000"]
)
def test_what_is_no_arithmetic_has_no_value(text: str) -> None:
    assert calculate(text) is None


@pytest.mark.parametrize(
    "text", ["1,2", "0,111", "1e999999999", "10^{99999}", "10^{9999}", "1/0", "5x", "", "-", "1.2.3", "9" * 5000]
)
def test_what_is_not_strictly_a_number_is_none(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize(
    "text", ["5x", "5 x", "3 or 4", "5 squared", "1/2/3", "3-5", "June 20", "5 - 3", "two", "5 or more", "9" * 900]
)
def test_what_is_not_one_number_with_a_unit_is_no_quantity(text: str) -> None:
    assert read_quantity(text) is None


@pytest.mark.parametrize("text", ["x", "2abc", r"\sin x", r"\infty", r"12\text{ and }13", "ab", "x = y"])
def test_formulas_are_no_words(text: str) -> None:
    assert not is_words(text)
