"""Extraction: which part of a completion may state its answer, and what it states."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.verifiers.kinds.choice import verify_choice
from distill.verifiers.kinds.text import verify_text
from distill.verifiers.maths.gold import read_gold
from distill.verifiers.maths.math import find_statement
from distill.verifiers.maths.number import verify_number
from distill.verifiers.reading.boxes import complete_boxes, last_run
from distill.verifiers.reading.extract import MAX_REGION_CHARACTERS, answer_region
from distill.verifiers.reading.statements import json_answer
from distill.verifiers.setting import Setting


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("<think>17</think>It is 5.", "It is 5."),
        ("<think>1</think><think>2</think>3", "3"),
        ("7-4=3</think> <answer>3</answer> done", "3"),
        ("<answer>1</answer> no, <answer>2</answer>", "2"),
        ("<answer>1</answer> and <answer> 2", "1"),
        ("<think>a <answer>9</answer></think>b", "b"),
        ("It is 5.<|im_end|>\n<|im_start|>user\nIt is 6.", "It is 5."),
        ("<|im_start|>assistant\nIt is 5.<|im_end|>", "\nIt is 5."),
        ("It is 5.</s></s></s>", "It is 5."),
        ("It is 5.<｜end▁of▁sentence｜>6", "It is 5."),
        ("It is 5.\n\nQuestion: 3 + 3?\nIt is 6.", "It is 5.\n\n"),
        ("It is 5.\nQ: 3 + 3?\nIt is 6.", "It is 5.\n"),
        ("It is 5.\n**Problem 2:** 3 + 3?", "It is 5.\n"),
        ("Question: 2 + 3?\nIt is 5.\nQuestion: 3 + 3?", "Question: 2 + 3?\nIt is 5.\n"),
        ("Any Question: none", "Any Question: none"),
    ],
)
def test_the_region_is_what_follows_the_thinking_up_to_the_first_foreign_text(text: str, region: str) -> None:
    assert answer_region(text).text == region


@pytest.mark.parametrize(
    ("text", "finish_reason", "think_opened", "reason"),
    [
        ("<think>4", "stop", False, "think_unclosed"),
        ("<think>4", "length", False, "truncated"),
        ("4", "stop", True, "think_unclosed"),
        ("4", "length", True, "truncated"),
        ("a</think><think>4", "stop", False, "think_unclosed"),
        ("", "stop", False, "empty"),
        ("<think>4</think> \n", "stop", False, "empty"),
        ("<think>4</think>", "length", False, "truncated"),
        ("<answer> </answer>", "stop", False, "empty"),
        ("<|im_end|>", "stop", False, "empty"),
    ],
)
def test_without_a_region_there_is_a_reason(text: str, finish_reason: str, think_opened: bool, reason: str) -> None:
    region = answer_region(text, finish_reason=finish_reason, think_opened=think_opened)  # type: ignore[arg-type]
    assert region.no_answer == reason


@pytest.mark.parametrize("think_opened", [False, True])
def test_a_complete_answer_in_an_open_thinking_block_is_still_read(think_opened: bool) -> None:
    text = "7-4=3 <answer>3</answer>" if think_opened else "<think>7-4=3 <answer>3</answer>"
    assert answer_region(text, finish_reason="length", think_opened=think_opened).text == "3"


def test_only_the_end_of_a_long_text_is_read() -> None:
    region = answer_region("1" * 80_000 + "2" * 100)
    assert len(region.text) == MAX_REGION_CHARACTERS
    assert region.text.endswith("2" * 100)


def test_a_cut_text_is_not_truncated_and_says_so() -> None:
    region = answer_region("It is 5.<|im_end|>more", finish_reason="length")
    assert (region.cut, region.truncated) == (True, False)


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        (r"\boxed{1} \fbox{2}", ["1", "2"]),
        (r"\boxed{\frac{1}{\sqrt{2}}}", [r"\frac{1}{\sqrt{2}}"]),
        (r"\boxed{\{1,2\}}", [r"\{1,2\}"]),
        (r"\boxed{\left\{ x \right.}", [r"\left\{ x \right."]),
        (r"\boxed{x + \boxed{5}", ["5"]),
        (r"\boxed{a \boxed{5} b}", [r"a \boxed{5} b"]),
        (r"\boxed{5", []),
        (r"\\boxed{5}", ["5"]),
        (r"\boxed {5}", ["5"]),
        ("} \\boxed{5} {", ["5"]),
        (r"boxed{5}", []),
        (r"a \\ \boxed{1 \\ 2}", [r"1 \\ 2"]),
    ],
)
def test_boxes_are_found_by_matching_braces(text: str, contents: list[str]) -> None:
    assert [box.content for box in complete_boxes(text)] == contents


@pytest.mark.parametrize(
    ("text", "run"),
    [
        (r"\boxed{1}, \boxed{2}", ["1", "2"]),
        (r"\boxed{1} \quad \text{and} \quad \boxed{2}", ["1", "2"]),
        (r"\boxed{x}. First. \boxed{a = 1} or $b = \boxed{2}$", ["a = 1", "2"]),
        (r"\boxed{1} pens and \boxed{2} cups", ["1", "2"]),
        (r"\boxed{1} no, that is wrong; it is \boxed{2}", ["2"]),
    ],
)
def test_adjacent_boxes_make_one_answer(text: str, run: list[str]) -> None:
    assert [box.content for box in last_run(text, complete_boxes(text))] == run


def stated(text: str, gold: str = "5", markers: tuple[str, ...] = (), flexible: bool = False) -> tuple[str, str] | None:
    region = answer_region(text)
    found = find_statement(region, read_gold(gold), Setting(markers=markers, flexible=flexible))
    return (found.tier, found.answer) if found else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"So \boxed{4}, no: \boxed{5}.", ("boxed", "5")),
        (r"\boxed{4}. The answer is 5.", ("boxed", "4")),
        (r"\boxed{4}. The final answer is 5.", ("marker", "5")),
        (r"\boxed{4}. The final answer is right.", ("boxed", "4")),
        (r"The final answer is 4: \boxed{5}", ("boxed", "5")),
        ("9 * 2\n#### 18", ("marker", "18")),
        ("#### Step 1\nAdd. The answer is 5", ("marker", "5")),
        ("The answer is 5.\n#### 2. Check\nIt holds.", ("marker", "5")),
        ("The answer is 4. No, the answer is 5.", ("marker", "5")),
        ("The final answer is $5$. I hope the answer is helpful.", ("marker", "$5$")),
        ("**Answer:** 5 dollars", ("marker", "5 dollars")),
        ("Answer:\n\n$$\n5\n$$\nDone.", ("marker", "$$\n5\n$$")),
        ("The answer is:\n\\[ 5 \\]", ("marker", r"\[ 5 \]")),
        ("The answer is 2.5 because 5 / 2 = 2.5", ("marker", "2.5")),
        ("the answer to the question is 5", ("marker", "5")),
        ("It is A: 5", ("marker", "5")),
        ("Data: 5 so 6", ("bare", "Data: 5 so 6")),
        ('{"reasoning": "3 + 2", "answer": 5}', ("json", "5")),
        ('Here:\n```json\n{"answer": "5"}\n```\nAs \\boxed{4}.', ("json", "5")),
        ('{"answer": 4}\nThe final answer is 5.', ("marker", "5")),
        ('{"reasoning": "bad\\(", "answer": "5"}', ("marker", "5")),
        ("<answer>x is five</answer>", ("tagged", "x is five")),
        ("$x = 5$", ("bare", "$x = 5$")),
        ("She makes $18 per day", ("bare", "She makes $18 per day")),
        ("First there are 3. Then 2 more come. So all in all we have 5 of them.", None),
    ],
)
def test_the_highest_tier_states_the_answer(text: str, expected: tuple[str, str] | None) -> None:
    assert stated(text, markers=("A:",)) == expected


def test_a_loose_answer_counts_only_where_it_is_asked_for() -> None:
    text = "First there are 3. Then 2 more come. So all in all there are $x = 5$ of them, or so."
    assert stated(text) is None
    assert stated(text, flexible=True) == ("loose", "x = 5")
    assert stated("Pay $3 and then $5. That is all there is to it here, my dear friend of old.", flexible=True) == (
        "loose",
        "$5",
    )


def test_several_boxes_are_a_list_only_for_a_gold_of_several_parts() -> None:
    text = r"\boxed{1} and \boxed{2}"
    assert stated(text, gold="2") == ("boxed", "2")
    assert stated(text, gold="1, 2") == ("boxed", "1, 2")


@pytest.mark.parametrize("text", ["The answer is 1", "#### 1", "So: \n#### 1"])
def test_an_answer_that_the_length_limit_may_have_cut_is_no_answer(text: str) -> None:
    assert verify_number(text, "1", Setting(finish_reason="length")).reason == "truncated"
    assert verify_number(text + "\n", "1", Setting(finish_reason="length")).outcome == "correct"
    assert verify_number(text, "1").outcome == "correct"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"answer": 1e3}', "1e3"),
        ('{"answer": 18.00}', "18.00"),
        ('{"answer": "\\\\frac{1}{2}"}', r"\frac{1}{2}"),
        ('{"answer": "\\frac{1}{2}"}', r"\frac{1}{2}"),  # JSON reads a form feed
        ('{"answer": "2\\times 3"}', r"2\times 3"),  # and here a tab
        ('{"a": {"answer": 1}, "answer": {"b": 2}}', '{"b": "2"}'),
        ('{"answer": true}', "true"),
        ('{"answer": "two\nlines"}', "two\nlines"),
        ('{"answer": ' + "9" * 5000 + "}", "9" * 5000),  # CPython's int() would raise
    ],
)
def test_a_json_answer_is_read_as_it_is_written(text: str, answer: str) -> None:
    found = json_answer(text)
    assert found is not None
    assert found[0] == answer


def test_deeply_nested_json_states_nothing() -> None:
    assert json_answer('{"answer": ' + "[" * 40_000) is None


DEGENERATE = (
    "a", "1", "1 ", "1,", "$", "\\", "\\\\", "{", "}", r"\boxed{", r"\boxed{x+", r"\boxed{1}", "(", "answer ", "\n", " ",
    "answer is ", "The answer is ", "final answer is ", "Answer: ", "#### ", "#", '{"answer": ', "{\n", "[{", "<think>",
    "<answer>", "</answer>", "<|a", "<|im_start|>", "\nQ:", ". ", ".", r"\frac{", r"\text{", r"\(", r"\[", "$$", "**",
    "1=", "x=", "1/", '\\"', '"', "A ", "(A)", "is A ", "answer to x ", ", ", "\x00", "\ud800", "9^{", "!", "and ",
    r"\boxed{1} and ", r"\begin{matrix}", "answer is $", "answer is \\(", "≈", "<｜", "  \n",
)  # fmt: skip


@pytest.mark.parametrize("unit", DEGENERATE)
def test_a_hundred_thousand_degenerate_characters_are_read_at_once(unit: str) -> None:
    """Each takes some 10 ms, and minutes where a pattern is quadratic: the bound is on CPU time, with much room."""
    text = unit * (100_000 // len(unit))
    started = time.process_time()
    for candidate in (text, "The answer is " + text):
        region = answer_region(candidate)
        find_statement(region, read_gold("1, 2"), Setting(flexible=True))
        verify_number(candidate, "5", Setting(flexible=True, markers=("A:", "####")))
        verify_choice(candidate, "B", Setting(flexible=True, options=("x", "y", "17")))
        verify_text(candidate, "B", Setting(markers=("So the answer is",)))
    assert time.process_time() - started < 3.0


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab1 {}\\$\n<>/think:Q", max_size=60))
def test_text_before_the_region_changes_nothing(junk: str) -> None:
    plain = "</think>\n<answer>\\boxed{5}</answer>"
    assert answer_region(junk + plain) == answer_region(plain)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It is 5.\n\n### Final Answer\n18", "18"),
        ("**Final Answer:**\n\n18 dollars.\n", "18 dollars"),
        (
            "## Final answer\nFirst, 5 + 7 = 12.\nSo they come 12 times. That is all there is to say.",
            None,
        ),  # more than one line
        ("\\boxed{5}\n### Final Answer\n18", "5"),
    ],
)
def test_a_heading_states_the_one_line_below_it(text: str, answer: str | None) -> None:
    assert stated(text, gold="18") == (answer and ("boxed" if "boxed" in text else "marker", answer))
