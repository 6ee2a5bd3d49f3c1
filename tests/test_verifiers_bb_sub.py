"""Answers to BIG-Bench tasks outside BBH: letters, words and validity, behind one marker."""

from __future__ import annotations

import pytest

from distill.verifiers import verify
from distill.verifiers.kinds.bb_sub import verify_bb_sub
from distill.verifiers.rules import apply_rule
from distill.verifiers.setting import Setting

MARKERS = ("Therefore, the answer is", "So the answer is")


@pytest.mark.parametrize(
    ("answer", "gold", "is_right"),
    [
        ("(B).", "(B)", True),
        ("B.", "(B)", True),
        ("(b)", "(B)", True),
        ("（B）", "(B)", True),
        ("(B) the river.", "(B) The River", True),
        ("(B) the sea", "(B) the river", True),  # letters count where both have one
        ("(A) the river", "(B) the river", False),
        ("the river.", "(B) the river", True),
        ("the river", "(B)", False),
        ("A.", "(B)", False),
        ("Yes.", "yes", True),
        ("YES. I am sure of it.", "yes", True),
        ("yes or no", "yes", False),
        ("2.5.", "2.5", True),
        ("2.5 in all. Done", "2.5 in all", True),
        ("2.5.", "2", False),
        ("2.", "2.5", False),
        ("invalid.", "invalid", True),
        ("deductively invalid.", "invalid", True),
        ("valid.", "invalid", False),
        ("that the argument is valid.", "valid", True),
        ("not valid.", "invalid", True),
        ("invalid.", "valid", False),
        ("neither valid nor invalid", "valid", False),
        ("unclear.", "valid", False),
        (r"\text{yes}", "yes", True),
    ],
)
def test_letters_words_and_validity_are_compared_after_the_marker(answer: str, gold: str, is_right: bool) -> None:
    verdict = verify(f"First one thing. Therefore, the answer is {answer}", gold, "bb-sub", markers=MARKERS)
    assert verdict.outcome.value == ("correct" if is_right else "incorrect")


@pytest.mark.parametrize(
    ("text", "outcome", "reason"),
    [
        ("Therefore, the answer is no. Therefore, the answer is yes.", "correct", "text"),
        (r"<think>hm</think><answer>\boxed{Yes}</answer>", "correct", "text"),
        ("It may be, or it may not. Nobody can say so far.", "no_answer", "no_marker"),
        ("", "no_answer", "empty"),
        ("<think>yes", "no_answer", "think_unclosed"),
    ],
)
def test_the_last_marker_counts_and_a_text_without_one_says_nothing(text: str, outcome: str, reason: str) -> None:
    verdict = verify(text, "yes", "bb-sub", markers=MARKERS)
    assert (verdict.outcome.value, verdict.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("yes", "no_answer", "correct"),
        ("Yes.", "no_answer", "correct"),
        ("No.", "no_answer", "incorrect"),
        ("Therefore, the answer is yes.", "correct", "correct"),
        ("Perhaps it is yes. Who could tell, though? Nobody here.", "no_answer", "no_answer"),
        ("<answer>yes</answer>", "correct", "correct"),
        (r"\boxed{yes}", "correct", "correct"),
    ],
)
def test_an_answer_without_a_marker_counts_for_the_flexible_score_alone(text: str, strict: str, flexible: str) -> None:
    for is_flexible, expected in ((False, strict), (True, flexible)):
        setting = Setting(markers=MARKERS, flexible=is_flexible)
        assert verify_bb_sub(text, "yes", setting).outcome.value == expected


@pytest.mark.parametrize(
    ("text", "gold", "ours", "theirs"),
    [
        ("Therefore, the answer is 2.5.", "2.5", True, False),  # they cut at the point
        ("Therefore, the answer is 12.5.", "12", False, True),
        ("Therefore, the answer is 7.", "7", True, False),  # one character is the letter of an option
        ("Therefore, the answer is unclear.", "valid", False, True),  # whatever is not invalid
        ("Therefore, the answer is B.", "(B)", True, True),
        ("Therefore, the answer is invalid.", "invalid", True, True),
        ("Therefore, the answer is (B) red.", "(B)", True, True),
        ("Therefore, the answer is red.", "(B) red", True, True),
        ("The answer is yes, I think, and I am quite sure. But who knows?", "yes", False, False),
    ],
)
def test_the_rule_differs_from_its_authors_at_decimals_and_at_validity(
    text: str, gold: str, ours: bool, theirs: bool
) -> None:
    assert (verify(text, gold, "bb-sub", markers=MARKERS).outcome == "correct") is ours
    assert apply_rule("authors", "bb_sub", text, gold).correct is theirs
