"""Answers that are exact text, as in BIG-Bench Hard."""

from __future__ import annotations

import pytest

from distill.verifiers import verify
from distill.verifiers.kinds.text import verify_text
from distill.verifiers.kinds.text_match import word_f1
from distill.verifiers.policy import Policy
from distill.verifiers.setting import Setting

MARKERS = ("So the answer is",)


@pytest.mark.parametrize(
    ("text", "gold", "outcome", "reason"),
    [
        ("So the answer is (C).", "(C)", "correct", "text"),
        ("So the answer is (C)", "(C)", "correct", "text"),
        ("So the answer is (C). ", "(C)", "correct", "text"),
        ("So the answer is: Yes", "Yes", "correct", "text"),
        ("So the answer is no. So the answer is Yes.", "Yes", "correct", "text"),
        ("So the answer is abc ada.", "abc ada", "correct", "text"),
        ("So the answer is **(C)**.", "(C)", "correct", "text"),
        ("So the answer is **.", "*", "incorrect", "text"),
        ("So the answer is ) ] }.", ") ] }", "correct", "text"),
        ("So the answer is etc..", "etc.", "correct", "text"),
        (r"<answer>\boxed{\text{(C)}}</answer>", "(C)", "correct", "text"),
        (r"\boxed{valid}", "valid", "correct", "text"),
        ('{"answer": "valid"}', "valid", "correct", "text"),
        ("<answer>valid</answer>", "valid", "correct", "text"),
        ("valid", "valid", "correct", "text"),
        ("So the answer is yes.", "Yes", "incorrect", "text"),
        ("So the answer is abc  ada.", "abc ada", "incorrect", "text"),
        ("So the answer is (C). I am sure.", "(C)", "incorrect", "text"),
        ("So the answer is (C)..", "(C)", "incorrect", "text"),
        ("The statement is valid, as far as I can see. It follows.", "valid", "no_answer", "no_marker"),
        ("The answer is valid.", "valid", "incorrect", "text"),  # not this source's marker: a short text, taken whole
        ("So the answer is (C).", "", "unverified", "gold_unparsed"),
    ],
)
def test_text_is_compared_letter_by_letter(text: str, gold: str, outcome: str, reason: str) -> None:
    verdict = verify(text, gold, "text", markers=MARKERS)
    assert (verdict.outcome.value, verdict.reason) == (outcome, reason)


def test_a_source_without_markers_has_the_general_ones_and_answers_of_any_length() -> None:
    grid = "1 2 3\n4 5 6\n7 8 9"
    assert verify("The answer is " + grid, grid, "text").outcome == "correct"
    assert verify(grid, grid, "text").outcome == "correct"
    assert verify(grid, grid, "text", markers=MARKERS).reason == "no_marker"


def test_text_that_the_length_limit_may_have_cut_is_no_answer() -> None:
    text = "So the answer is val"
    assert verify(text, "val", "text", markers=MARKERS, finish_reason="length").reason == "truncated"


@pytest.mark.parametrize(
    ("text", "gold", "outcome"),
    [
        (r"\boxed{B}", "(B)", "correct"),
        (r"\boxed{(B)}", "(B)", "correct"),
        (r"\boxed{(B)}", "B", "correct"),
        (r"\boxed{\text{B}}.", "(B)", "correct"),
        ("<answer>B</answer>", "(B)", "correct"),
        ('{"answer": "B"}', "(B)", "correct"),
        ("So the answer is B.", "(B)", "correct"),
        ("So the answer is (B).", "B", "correct"),
        (r"\boxed{] }}", "] }", "correct"),
        (r"<answer>\boxed{] \} }</answer>", "] }", "correct"),
        (r"\boxed{ } } }.", "} }", "correct"),
        (r"First \boxed{]}, then \boxed{{ [}", "{ [", "correct"),
        (r"\boxed{] }}", "] } }", "incorrect"),
        (r"\boxed{C}", "(B)", "incorrect"),
        (r"\boxed{b}", "(B)", "incorrect"),
        (r"\boxed{(b)}", "(B)", "incorrect"),
        (r"\boxed{B)}", "(B)", "incorrect"),
        (r"\boxed{(B}", "(B)", "incorrect"),
        (r"\boxed{[B]}", "(B)", "incorrect"),
        (r"\boxed{(B) the river}", "(B)", "incorrect"),
        (r"\boxed{BB}", "(BB)", "incorrect"),
        (r"\boxed{7}", "(7)", "incorrect"),
    ],
)
def test_the_brackets_of_an_options_capital_do_not_count(text: str, gold: str, outcome: str) -> None:
    assert verify(text, gold, "text", markers=MARKERS).outcome.value == outcome


@pytest.mark.parametrize(
    ("text", "gold", "outcome"),
    [
        ("So the answer is: The red House!", "red house", "correct"),
        ("So the answer is red,  house.", "Red House", "correct"),
        (r"\boxed{\text{A red house.}}", "the red house", "correct"),
        ("The answer is red", "answer is red", "correct"),  # the whole completion has the gold's words
        ("<think>blue?</think>Red house", "red house", "correct"),
        ("So the answer is redhouse.", "red house", "incorrect"),
        ("So the answer is house red.", "red house", "incorrect"),
        ("So the answer is no red house.", "red house", "incorrect"),
        ("So the answer is 4.2", "42", "correct"),  # without punctuation: not for numbers
        ("So the answer is A.", "a", "correct"),
        ("Nobody knows whether it is red. It may well be blue, after all.", "red house", "no_answer"),
        ("", "red house", "no_answer"),
    ],
)
def test_normalised_text_has_the_golds_words(text: str, gold: str, outcome: str) -> None:
    setting = Setting(markers=MARKERS, policy=Policy(text="normalised"))
    assert verify_text(text, gold, setting).outcome.value == outcome


def test_a_completion_that_has_just_the_golds_words_is_right_even_where_some_are_a_marker() -> None:
    setting = Setting(policy=Policy(text="normalised"))
    assert verify_text("The answer is red.", "answer is red", setting).tier == "bare"
    assert verify_text("The answer is red.", "red", setting).tier == "marker"
    cut_short = Setting(policy=Policy(text="normalised"), finish_reason="length")
    assert verify_text("The answer is red", "answer is red", cut_short).reason == "truncated"


@pytest.mark.parametrize(
    ("text", "golds", "score"),
    [
        ("hello world", ["hello world"], 1.0),
        ("The hello, world!", ["hello world"], 1.0),
        ("hello world", ["hello"], 2 / 3),  # 1 shared of 2 + 1 words: 2 * 1 / 3
        ("a red red house", ["red house"], 0.8),  # 2 shared of 3 + 2: a word counts as often as it stands in both
        ("hello", ["bye", "hello there you"], 0.5),  # the nearest: 2 * 1 / (1 + 3)
        ("hello", ["bye"], 0.0),
        ("", ["hello"], 0.0),
        ("hello", [], 0.0),
        ("<think>bye</think><answer>hello</answer>", ["hello"], 1.0),
    ],
)
def test_word_f1_is_twice_the_shared_words_over_all_words(text: str, golds: list[str], score: float) -> None:
    assert word_f1(text, golds) == pytest.approx(score, abs=1e-12)
