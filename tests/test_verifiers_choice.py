"""Answers that pick an option: by letter, number or text, and when they pick none."""

from __future__ import annotations

import pytest

from distill.records import Problem
from distill.verifiers import gold_problem, verify
from distill.verifiers.choice import verify_choice
from distill.verifiers.setting import Setting

CITIES = ("Rome", "Paris", "Bern", "St. Gallen")
NUMBERS = ("12", "2", "14")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("The answer is (C).", "C"),
        ("The answer is C.", "C"),
        ("The answer is C", "C"),
        ("**Answer: C**", "C"),
        ("Answer: **C**", "C"),
        ("answer: c", "C"),
        ("The answer is (c)", "C"),
        (r"\boxed{C}", "C"),
        (r"\boxed{\text{(C)}}", "C"),
        (r"$\boxed{\textbf{C}}$", "C"),
        ("<answer>C</answer>", "C"),
        ("<answer>C: Bern</answer>", "C"),
        ('{"answer": "C"}', "C"),
        ("C", "C"),
        ("(C)", "C"),
        ("C. Bern", "C"),
        ("Bern", "C"),
        ("The correct option is C, since it is the capital.", "C"),
        ("The answer is Bern.", "C"),
        ("The answer is St. Gallen.", "D"),
        ("The answer is A because it is.", "A"),
        ("The answer is A. It is.", "A"),
        ("The answer is (A) Rome", "A"),
        ("The answer is 3.", "C"),
        ("3", "C"),
        ("The answer is 3, so the answer is (B).", "B"),
        (r"With \boxed{3} steps: \boxed{B}", "B"),
        ("The answer is (C).\n\nQuestion: next?\nThe answer is (A).", "C"),
        ("The answer is (C). Yes: the answer is C.", "C"),
    ],
)
def test_an_option_is_picked(text: str, key: str) -> None:
    assert verify(text, key, "choice", options=CITIES).outcome == "correct"
    other = "A" if key != "A" else "B"
    assert verify(text, other, "choice", options=CITIES).outcome == "incorrect"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The answer is A good one.", "no_marker"),
        ("The answer is a matter of taste.", "no_marker"),
        ("The answer is Babylonia.", "no_marker"),
        ("The answer is E.", "no_marker"),  # four options
        ("The answer is 5.", "no_marker"),
        ("The answer is 3 apples more.", "no_marker"),
        ("I like c", "no_marker"),
        ("c", "no_marker"),
        ("Rome is old. Paris is large. Who knows?", "no_marker"),
        ("Answer: B\nAnswer: C", "ambiguous"),
        (r"\boxed{A} or \boxed{B}", "ambiguous"),
        ("<think>B", "think_unclosed"),
        ("", "empty"),
    ],
)
def test_no_option_is_picked(text: str, reason: str) -> None:
    verdict = verify(text, "B", "choice", options=CITIES)
    assert (verdict.outcome.value, verdict.reason) == ("no_answer", reason)


def test_the_flexible_score_takes_the_first_of_several_letters_and_a_lone_one() -> None:
    flexible = Setting(options=CITIES, flexible=True)
    assert verify_choice("Answer: B\nAnswer: C", "B", flexible).outcome == "correct"
    assert verify_choice("It must be B, I think.", "B", flexible).tier == "loose"


def test_numbers_among_the_options_are_texts_and_not_places() -> None:
    assert verify("The answer is 2.", "B", "choice", options=NUMBERS).outcome == "correct"
    assert verify("The answer is 3.", "C", "choice", options=NUMBERS).reason == "no_marker"


def test_ten_options_go_up_to_j_and_a_pronoun_is_no_key() -> None:
    ten = tuple(f"option {letter}" for letter in "abcdefghij")
    assert verify("The answer is J.", "J", "choice", options=ten).outcome == "correct"
    assert verify("The answer is I think unknown.", "I", "choice", options=ten).reason == "no_marker"
    assert verify("The answer is I.", "I", "choice", options=ten).outcome == "correct"


def test_a_letter_that_the_length_limit_may_have_cut_is_no_answer() -> None:
    assert verify("The answer is B", "B", "choice", options=CITIES, finish_reason="length").reason == "truncated"


@pytest.mark.parametrize("gold", ["B", "(b)", "B.", "2", "Paris", "paris"])
def test_a_gold_is_a_key_a_number_or_an_options_text(gold: str) -> None:
    assert verify("The answer is B.", gold, "choice", options=CITIES).outcome == "correct"


@pytest.mark.parametrize("gold", ["E", "London", "", "5", "AB"])
def test_a_gold_that_is_no_option_can_never_be_verified(gold: str) -> None:
    assert verify("The answer is B.", gold, "choice", options=CITIES).reason == "gold_unparsed"
    assert gold_problem(Problem("1", "?", gold, options=CITIES), "choice") == "gold_unparsed"
