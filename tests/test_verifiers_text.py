"""Answers that are exact text, as in BIG-Bench Hard."""

from __future__ import annotations

import pytest

from distill.verifiers import verify

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
