"""Laws of the verifiers, tried on completions made of tags, boxes, markers, numbers, LaTeX and odd characters.

The engine is not started: it is a process with a deadline of its own, and ``test_verifiers_hostile.py`` is about it.
What a longer, coverage-guided search finds (``benchmarks/fuzz_extraction.py``) becomes a case of ``FOUND``.
"""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from distill import text_metrics
from distill.records import FinishReason, Outcome, Problem, Verdict
from distill.registry import REGISTRY
from distill.verifiers import gold_problem
from distill.verifiers.judge import verify_with
from distill.verifiers.maths.latex import canonical
from distill.verifiers.maths.numbers import read_number
from distill.verifiers.maths.quantities import read_quantity
from distill.verifiers.reading.boxes import complete_boxes
from distill.verifiers.reading.extract import OWN_PROBLEM, TEMPLATE_TOKEN, answer_region
from distill.verifiers.setting import Setting
from distill.verifiers.workers.engine import Engine, EngineReply

pytestmark = pytest.mark.slow

EXACT = Context(prec=40)
"""Of its own: packages under test change the one that all share."""

KINDS = tuple(kind for kind in REGISTRY["verifiers"] if kind != "code")
ABOUT_THINKING = {"format"}
FINISH_REASONS: tuple[FinishReason, ...] = ("stop", "length")

# Texts on which a longer search found a law broken.
FOUND = (r"\fbox{<answer></answer>", "{" * 25_000 + "5" + "}" * 25_000)


class UnaskedEngine(Engine):
    """Stands where the engine would be asked, and cannot tell."""

    def compare(self, *_: object) -> EngineReply:
        return EngineReply(None, "timeout")


ENGINE = UnaskedEngine()
SETTINGS = (
    Setting(options=("Rome", "Paris is nice", "5 feet"), markers=("A:", "So the answer is"), engine=ENGINE),
    Setting(finish_reason="length", engine=ENGINE),
    Setting(flexible=True, think_opened=True, engine=ENGINE),
)

TAGS = ("<think>", "</think>", "<answer>", "</answer>", "<|im_end|>", "<|im_start|>user\n", "</s>", "[INST]")
MARKERS = (
    "The answer is ", "The final answer is ", "Answer:", "**Answer**: ", "####", "A:", "answer", '{"answer": ', '"}', "\n",
    "\n\n", "Question: ", "Q: ", "Problem 2:", "```json\n", "```", "so ", " and ", " or ", "not ", ". ", ", because ",
)  # fmt: skip
LATEX = (
    r"\boxed{", r"\fbox{", "{", "}", r"\{", r"\}", "$", "$$", r"\(", r"\)", r"\[", r"\]", r"\frac", r"\frac{1}{2}", r"\text{",
    r"\sqrt{", r"\begin{pmatrix}", r"\end{pmatrix}", "&", r"\\", "\\", r"\cup ", r"\pm ", r"\times 10^{", "^", "_", "=", "<",
    r"\%", r"\left(", r"\right)", r"\quad", r"\,", r"\!", r"\infty ", r"\pi", r"^\circ", "~", "x", "|", "/", "-", "+",
)  # fmt: skip
ANSWERS = (
    "5",
    "5.",
    "-3.50",
    "1,234",
    "2 1/2",
    "18 dollars",
    "50%",
    "(B)",
    "A",
    "valid",
    "True",
    "ten",
    "None",
    "x = 5",
    "12:00",
)
ODD = (
    "\u202e",
    "\u200b",
    "\x00",
    "\ud800",
    "\u0663",
    "\uff15",
    "\u00b2",
    "\u00bd",
    "\u2212",
    "\u221a",
    "\x0c",
    "\U0001d7dd",
    "%s",
    "{0}",
)

odd_text = st.text(st.characters(exclude_categories=()), max_size=6)
fragments = st.sampled_from(TAGS + MARKERS + LATEX + ANSWERS + ODD) | odd_text
texts = st.lists(fragments, max_size=25).map("".join)
prose = st.lists(st.sampled_from(MARKERS + LATEX + ANSWERS + ODD) | odd_text, max_size=15).map("".join)
kinds = st.sampled_from(KINDS)
bounded = settings(max_examples=300, derandomize=True)


def judged(kind: str, text: str, gold: str) -> list[Verdict]:
    """The verdicts in every setting."""
    return [verify_with(kind, text, gold, setting) for setting in SETTINGS]


@pytest.mark.parametrize("kind", KINDS)
@bounded
@given(text=texts, gold=texts)
def test_every_text_and_every_gold_get_a_verdict(kind: str, text: str, gold: str) -> None:
    for verdict in judged(kind, text, gold):
        assert verdict.outcome in Outcome
        assert verdict.reason
        assert verdict.outcome is not Outcome.CORRECT or verdict.answer is not None or kind == "format"
    assert isinstance(gold_problem(Problem("1", "?", gold), kind if kind != "math" else "number"), str)


@pytest.mark.parametrize("text", FOUND)
def test_texts_that_a_search_has_found_get_a_verdict_from_every_kind(text: str) -> None:
    for kind in KINDS:
        for gold in ("5", "A", "x+1", text):
            judged(kind, text, gold)


@pytest.mark.parametrize("kind", ["number", "choice", "text", "bb-sub"])
@bounded
@given(text=texts)
def test_the_answer_stands_in_the_completion(kind: str, text: str) -> None:
    """As it is written there; a JSON string is read, and so it may differ."""
    for verdict in judged(kind, text, "5"):
        if not verdict.tier.startswith("json"):
            assert (verdict.answer or "") in text


@bounded
@given(text=texts, finish_reason=st.sampled_from(FINISH_REASONS), think_opened=st.booleans())
def test_there_is_a_region_of_the_text_or_a_reason(text: str, finish_reason: FinishReason, think_opened: bool) -> None:
    region = answer_region(text, finish_reason=finish_reason, think_opened=think_opened)
    assert region.text in text
    assert bool(region.text) != bool(region.no_answer)


@bounded
@given(text=texts)
def test_boxes_and_metrics_read_every_text(text: str) -> None:
    boxes = complete_boxes(text)
    assert all(text[box.start : box.end].endswith(box.content + "}") for box in boxes)
    assert all(first.end <= second.start for first, second in pairwise(boxes))
    parts = text_metrics.template_parts(text)
    assert parts.boxed == bool(boxes)
    assert text_metrics.repeated_phrases(text) >= 0
    assert 0 <= text_metrics.ngram_repetition(text) <= 1


# Golds that are right as they stand, without the engine.
integers = st.integers(-(10**12), 10**12).map(str)
decimals = st.decimals(-(10**9), 10**9, places=3).map(str)
ratios = st.tuples(st.integers(-999, 999), st.integers(1, 999)).map(lambda pair: rf"\frac{{{pair[0]}}}{{{pair[1]}}}")
formulas = st.sampled_from(
    ("x+1", r"\sqrt{2}", r"\frac{x}{2}", r"(1, \infty)", r"\pi", "2x^2-1", r"\begin{pmatrix}1\\2\end{pmatrix}")
)
words = st.sampled_from(("Evelyn", "no solution", "True", r"\text{June 20}", "east"))


@bounded
@given(
    before=prose, gold=integers | decimals | ratios | formulas | words, kind=st.sampled_from(("math", "number", "text"))
)
@example("\\", "5", "math")
@example("{", "5", "text")
def test_the_gold_in_a_box_is_correct_whatever_stands_before(before: str, gold: str, kind: str) -> None:
    assume(not TEMPLATE_TOKEN.search(before) and not OWN_PROBLEM.search(before) and '"answer"' not in before)
    assume(kind != "number" or not gold_problem(Problem("1", "?", gold), kind))
    setting = Setting(engine=ENGINE)
    assert verify_with(kind, f"{before} So it is \\boxed{{{gold}}}", gold, setting).outcome is Outcome.CORRECT


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ABOUT_THINKING])
@bounded
@given(thinking=texts, text=texts)
def test_what_stands_in_the_thinking_changes_nothing(kind: str, thinking: str, text: str) -> None:
    assume("<think>" not in text or "</think>" in text)  # whether thinking left open loops is said of all of it
    assert judged(kind, f"{thinking}</think>{text}", "5") == judged(kind, f"</think>{text}", "5")


@pytest.mark.parametrize("kind", ["math", "number", "choice", "text", "bb-sub"])
@bounded
@given(text=prose, appended=texts)
def test_a_problem_that_the_model_writes_itself_changes_nothing(kind: str, text: str, appended: str) -> None:
    assume("think>" not in appended)  # thinking is looked for first
    assume(OWN_PROBLEM.sub("", text).strip())
    setting = Setting(engine=ENGINE)
    alone = verify_with(kind, text, "5", setting)
    followed = verify_with(kind, f"{text}\n\nQuestion: and then?\n{appended}", "5", setting)
    assert (followed.outcome, followed.answer, followed.reason) == (alone.outcome, alone.answer, alone.reason)


def wrapped(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A formula with delimiters, a box, bold signs, spaces or a full stop around it."""
    frame = st.sampled_from(("$%s$", "$$%s$$", r"\(%s\)", r"\[%s\]", "**%s**", r"\boxed{%s}", "{%s}", "%s.", " %s\n"))
    return st.tuples(frame, inside).map(lambda pair: pair[0].replace("%s", pair[1]))


answers = integers | decimals | ratios | formulas
wrapped_answers = answers.flatmap(lambda answer: st.tuples(st.just(answer), wrapped(wrapped(st.just(answer)))))


@bounded
@given(wrapped_answers)
def test_what_stands_around_a_formula_changes_nothing(answer_and_text: tuple[str, str]) -> None:
    answer, text = answer_and_text
    assume(".." not in text and "$$$" not in text and "****" not in text)
    assert canonical(text) == canonical(answer)
    assert canonical(canonical(text)) == canonical(text)


@bounded
@given(text=texts, other=texts, kind=kinds)
def test_the_same_text_gets_the_same_verdict_whatever_was_judged_before(text: str, other: str, kind: str) -> None:
    first = judged(kind, text, "5")
    judged(kind, other, "5")
    assert judged(kind, text, "5") == first


@bounded
@given(whole=st.integers(0, 10**15), places=st.integers(0, 6), sign=st.sampled_from(("", "-", "+")))
def test_decimals_and_groups_are_read_as_python_reads_them(whole: int, places: int, sign: str) -> None:
    value = Decimal(whole).scaleb(-places, EXACT)
    for form in (f"{sign}{value:f}", f"{sign}{value:,f}"):
        number = read_number(form)
        assert number is not None
        assert number.value == (-1 if sign == "-" else 1) * Fraction(value)
        assert number.has_point == (places > 0)


@bounded
@given(mantissa=st.decimals(-999, 999, places=2), exponent=st.integers(-40, 40))
def test_scientific_numbers_are_read_as_python_reads_them(mantissa: Decimal, exponent: int) -> None:
    value = Fraction(mantissa) * Fraction(10) ** exponent
    for form in (f"{mantissa}e{exponent}", f"{mantissa}E{exponent:+d}", rf"{mantissa}\times10^{{{exponent}}}"):
        number = read_number(form)
        assert number is not None
        assert number.value == value


@bounded
@given(whole=st.integers(0, 999), over=st.integers(0, 10**6), under=st.integers(1, 10**6), negative=st.booleans())
def test_fractions_and_mixed_numbers_are_read_as_fractions(whole: int, over: int, under: int, negative: bool) -> None:
    sign = "-" if negative else ""
    value = Fraction(over, under) * (-1 if negative else 1)
    mixed = (whole + Fraction(over, under)) * (-1 if negative else 1)
    forms = {f"{sign}{over}/{under}": value, rf"{sign}\frac{{{over}}}{{{under}}}": value}
    forms |= {f"{sign}{whole} {over}/{under}": mixed, rf"{sign}{whole}\frac{{{over}}}{{{under}}}": mixed}
    for form, wanted in forms.items():
        number = read_number(form)
        assert number is not None
        assert number.value == wanted


@bounded
@given(
    value=st.decimals(0, 10**6, places=2),
    unit=st.sampled_from(("", " dollars", r"\%", " cm", r"\text{ feet}", " per day")),
)
def test_a_unit_changes_no_value(value: Decimal, unit: str) -> None:
    quantity = read_quantity(f"{value}{unit}")
    assert quantity is not None
    assert quantity.number.value == Fraction(value)
    assert quantity.percent == (unit == r"\%")
