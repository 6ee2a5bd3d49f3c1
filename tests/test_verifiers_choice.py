"""Answers that pick an option: by letter, number or text, and when they pick none."""

from __future__ import annotations

from string import ascii_uppercase

import pytest

from distill.records import Problem
from distill.verifiers import gold_problem, verify
from distill.verifiers.kinds.choice import verify_choice
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
        ("Option C is correct.", "C"),
        ("C is the answer.", "C"),
        ("Rome is old. Therefore, **(C)** is the correct option because of its bears.", "C"),
        ("A is wrong, but option C is the right one.", "C"),
        ("The answer is not among them, but the closest is (C).", "C"),
        ("The most likely capital is (C) Bern.", "C"),
        ("I would choose option C.", "C"),
        ("So C is correct. Yes, option C is the best answer.", "C"),
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
        ("Option B is correct. Option C is correct.", "no_marker"),
        ("Option B is not correct.", "no_marker"),
        ("If option B is correct, Rome is old.", "no_marker"),
        ("Is option B correct? Neither B nor C is the answer.", "no_marker"),
        ("Option B is correct if Rome is old.", "no_marker"),
        ("Option B is also correct.", "no_marker"),
        ("Vitamin B is the best.", "no_marker"),
        ("A and B is the right answer.", "no_marker"),
        ("The best ones: the closest is (B) or (C).", "no_marker"),
        ("The best is (B) and (C).", "no_marker"),
        ("It is (B) that is old.", "no_marker"),
        ("Option B is right of Rome.", "no_marker"),
        ("Option E is correct.", "no_marker"),  # four options
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


def test_a_sentence_yields_to_a_marker_and_to_the_length_limit() -> None:
    assert verify("So option B is correct.\nAnswer: C", "C", "choice", options=CITIES).outcome == "correct"
    assert verify("Option B is correct.", "B", "choice", options=CITIES).tier == "sentence"
    cut = verify("Option B is correct.", "B", "choice", options=CITIES, finish_reason="length")
    assert cut.reason == "truncated"


def test_a_bare_i_in_a_sentence_is_no_option() -> None:
    ten = tuple(f"option {letter}" for letter in "abcdefghij")
    assert verify("So I is correct.", "I", "choice", options=ten).reason == "no_marker"
    assert verify("So option I is correct.", "I", "choice", options=ten).outcome == "correct"
    assert verify("So (I) is correct.", "I", "choice", options=ten).outcome == "correct"


def test_numbers_among_the_options_are_texts_and_not_places() -> None:
    assert verify("The answer is 2.", "B", "choice", options=NUMBERS).outcome == "correct"
    assert verify("The answer is 3.", "C", "choice", options=NUMBERS).reason == "no_marker"


def test_a_capital_is_a_letter_even_where_an_option_is_that_text() -> None:
    elements = ("Al", "B", "C")  # carbon stands at C, boron at B; with boron at A a 'B' would be read as that
    assert verify("The answer is (B).", "B", "choice", options=("B", "Al", "Ga")).outcome == "correct"
    assert verify("The answer is B.", "A", "choice", options=("B", "Al", "Ga")).outcome == "incorrect"
    assert verify("The answer is Al.", "A", "choice", options=elements).outcome == "correct"


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


@pytest.mark.parametrize("gold", ["E", "London", "", "5", "AE", "BA", "A or B", "A, London", "BAD", "AAB"])
def test_a_gold_that_is_no_option_can_never_be_verified(gold: str) -> None:
    assert verify("The answer is B.", gold, "choice", options=CITIES).reason == "gold_unparsed"
    assert gold_problem(Problem("1", "?", gold, options=CITIES), "choice") == "gold_unparsed"


PLANETS = ("Mars", "Venus", "Moon", "Earth", "Sun")


@pytest.mark.parametrize(
    "text",
    [
        "ACD",
        "(ACD)",
        "A, C, D",
        "A,C,D.",
        "A, C and D",
        "A and C and D",
        "A; C; D",
        "A、C、D",
        "The answer is ACD.",
        "The answer is A, C, and D.",
        "The answers are (A), (C) and (D).",
        "The correct options are A, C and D.",
        "Answer: A, C & D",
        "**Answers:** A, C, D",
        "The answer is **A, C, D**.",
        "The correct statements are A, C, D because Venus is hot.",
        "Options A, C and D are correct.",
        "So statements A, C, and D are all true.",
        "The answers are D, C and A.",
        "The answers are (A) Mars, (C) Moon and (D) Earth.",
        "Answer: A. Mars, C. Moon, D. Earth",
        r"\boxed{ACD}",
        r"\boxed{A, C, D}",
        r"\boxed{\text{A, C and D}}",
        r"\boxed{\text{A}, \text{C}, \text{D}}",
        r"\boxed{\{A, C, D\}}",
        r"\boxed{A}, \boxed{C} and \boxed{D}",
        r"First \boxed{B}, no: that is wrong; it is \boxed{A}, \boxed{C}, \boxed{D}",
        "<answer>A, C, D</answer>",
        "<answer>ACD</answer>",
        '{"answer": "A, C, D"}',
        '{"answer": ["A", "C", "D"]}',
        '{"answer": "ACD"}',
        "<think>A? B? ACE?</think>The answer is ACD",
    ],
)
def test_several_letters_are_read_as_a_set(text: str) -> None:
    assert verify(text, "ACD", "choice", options=PLANETS).outcome == "correct"
    assert verify(text, "A, C, D", "choice", options=PLANETS).outcome == "correct"
    for other in ("AC", "ACDE", "BE", "ABD"):
        assert verify(text, other, "choice", options=PLANETS).outcome == "incorrect"


@pytest.mark.parametrize(
    ("text", "outcome", "reason"),
    [
        ("The answer is A.", "incorrect", "letter"),
        ("Answer: (A) Mars", "incorrect", "letter"),
        ("The answer is A, C is wrong.", "incorrect", "letter"),
        ("The answer is A, and C is hot.", "incorrect", "letter"),
        ("The answers are A and A.", "incorrect", "letter"),
        ("The answer is A or C.", "no_answer", "ambiguous"),
        ("The answer is A. No, the answers are A and C.", "no_answer", "ambiguous"),
        ("The answer is BAD.", "no_answer", "no_marker"),
        ("The answer is CAB.", "no_answer", "no_marker"),
        ("The answer is CA.", "no_answer", "no_marker"),
        ("The answer is ACID.", "no_answer", "no_marker"),
        ("The answer is ACF.", "no_answer", "no_marker"),  # five options
        ("The answer is AC-coupled.", "no_answer", "no_marker"),
        ("The answer is a, c.", "incorrect", "letter"),  # one small letter, as where one is right
        ("A BAD CAB", "no_answer", "no_marker"),
        ("A CAB", "no_answer", "no_marker"),
        ("ACE pilots fly", "no_answer", "no_marker"),
        ("All answers: none", "no_answer", "no_marker"),
        ("Options A and C are wrong.", "no_answer", "no_marker"),
        ("They are A and C, as I see it", "no_answer", "no_marker"),
    ],
)
def test_what_states_another_set_or_none_where_several_are_right(text: str, outcome: str, reason: str) -> None:
    verdict = verify(text, "AC", "choice", options=PLANETS)
    assert (verdict.outcome.value, verdict.reason) == (outcome, reason)


def test_the_flexible_score_takes_all_lone_letters_of_the_last_sentence_with_one() -> None:
    flexible = Setting(options=PLANETS, flexible=True)
    text = "B is out. They must be A and C, as I see it. BAD luck otherwise."
    assert verify_choice(text, "AC", flexible).tier == "loose"
    assert verify_choice(text, "AC", flexible).outcome == "correct"
    assert verify_choice(text, "ABC", flexible).outcome == "incorrect"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("The answer is A and C.", "A"),
        ("The answer is (A), (C)", "A"),
        ("The answer is B or C.", "B"),
        (r"\boxed{A, C}", "A"),
        ("Answer: A/C", "A"),
        ('{"answer": ["B", "C"]}', "B"),
    ],
)
def test_several_letters_are_ambiguous_where_one_is_right_and_flexibly_the_first(text: str, first: str) -> None:
    assert verify(text, first, "choice", options=PLANETS).reason == "ambiguous"
    assert verify_choice(text, first, Setting(options=PLANETS, flexible=True)).outcome == "correct"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("The answer is C, D is wrong.", "C"),
        ("The answer is C because A and B are wrong.", "C"),
        ("The answer is C, not D.", "C"),
        ("Now all the answers:\nA. 25\nThe answer is C.", "C"),
        ("Options A and B are correct for cats. The answer is C.", "C"),
    ],
)
def test_other_letters_beside_the_stated_one_do_not_count(text: str, key: str) -> None:
    assert verify(text, key, "choice", options=PLANETS).outcome == "correct"


@pytest.mark.parametrize("gold", ["AC", "A, C", "A and C", "(A), (C)", "A;C", '["A", "C"]', "['A', 'C']", "C, A"])
def test_a_gold_of_several_letters_is_a_set_however_it_is_written(gold: str) -> None:
    assert gold_problem(Problem("1", "?", gold, options=PLANETS), "choice") == ""
    assert verify("The answers are A and C.", gold, "choice", options=PLANETS).outcome == "correct"


def test_a_problem_with_more_than_ten_options_has_letters_beyond_j() -> None:
    many = tuple(f"thing {letter}" for letter in ascii_uppercase[:18])
    for text in ("The answer is (R).", r"\boxed{R}", "R", "Answer: R", "<answer>thing R</answer>", "The answer is 18."):
        assert verify(text, "R", "choice", options=many).outcome == "correct"
    assert verify("The answer is S.", "R", "choice", options=many).reason == "no_marker"
    assert verify("The answers are K and R.", "KR", "choice", options=many).outcome == "correct"
    assert verify("The answer is K.", "K", "choice", options=CITIES).reason == "gold_unparsed"


def test_without_options_there_are_ten_letters() -> None:
    assert verify("The answer is J.", "J", "choice").outcome == "correct"
    assert verify("The answer is K.", "J", "choice").reason == "no_marker"


def test_what_a_loop_says_is_no_loose_answer_but_a_stated_one_stands() -> None:
    flexible = Setting(options=CITIES, flexible=True)
    assert verify_choice("So it must be B. " * 30, "B", flexible).reason == "degenerate"
    assert verify_choice("The answer is (B). " * 30, "B", Setting(options=CITIES)).outcome == "correct"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I'm sorry, but I cannot help with that request.", "refusal"),
        ("I cannot answer this question, because the passage is missing.", "refusal"),
        ("I'm sorry, but I cannot help with that request. The answer is B.", "letter"),
        ("The city is old and lies by a river, and many people live in it.", "no_marker"),
    ],
)
def test_a_refusal_is_the_reason_only_where_no_answer_is_stated(text: str, reason: str) -> None:
    assert verify(text, "B", "choice", options=CITIES).reason == reason
    if reason == "refusal":
        assert verify("Here is what I think. " + text, "12", "number").reason == reason
