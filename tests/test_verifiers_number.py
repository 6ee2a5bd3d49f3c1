"""Answers that are one number: exact, in whatever form, and never by the engine."""

from __future__ import annotations

import pytest

from distill.verifiers import verify
from distill.verifiers.number import verify_number
from distill.verifiers.setting import Setting


@pytest.mark.parametrize(
    ("text", "gold", "outcome", "reason"),
    [
        (r"\boxed{18}", "18", "correct", "number"),
        ("#### 1,234", "1234", "correct", "number"),
        ("A: 16.00.", "16", "correct", "number"),
        ("A: $16", "16", "correct", "number"),
        ("A: -$4,875", "-4875", "correct", "number"),
        ("A: −3", "-3", "correct", "number"),
        ("A: 004", "4", "correct", "number"),
        (r"A: $\frac{3}{4}$", "0.75", "correct", "number"),
        ("A: 1.8 million", "1800000", "correct", "number"),
        ("A: 18 dollars per day", "18", "correct", "number:unit_omitted"),
        ("A: 60%", "60", "correct", "number:percent_omitted"),
        ("A: Anne is 8 years old.", "8", "correct", "number"),
        ("A: x = 8", "8", "correct", "number"),
        ("A: 35/7 = 5", "5", "correct", "number"),
        ("A: 12.48 - (16 * 0.03) = 12.48 - 0.48 = 12.00", "12", "correct", "number"),
        ("A: about 5", "5", "correct", "number"),
        ("A: 5", "6", "incorrect", "number"),
        ("A: 35/7 = 6", "6", "incorrect", "answer_unparsed"),
        ("A: 3 + 2", "5", "incorrect", "answer_unparsed"),  # nobody worked it out
        ("A: 3 or 5", "5", "incorrect", "answer_unparsed"),
        ("A: at least 5", "5", "incorrect", "answer_unparsed"),
        ("A: 86 glasses, 42 plates", "128", "incorrect", "answer_unparsed"),
        ("A: 5 cm", "5 m", "incorrect", "guard:unit"),
        ("A: " + "9" * 500, "5", "unverified", "too_long"),
        ("A: 5", "five", "unverified", "gold_unparsed"),
        ("A: 5", "", "unverified", "gold_unparsed"),
        ("We add and add. Then we stop, and that is it for us.", "5", "no_answer", "no_marker"),
    ],
)
def test_a_number_is_compared_exactly(text: str, gold: str, outcome: str, reason: str) -> None:
    verdict = verify(text, gold, "number", markers=("A:",))
    assert (verdict.outcome.value, verdict.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("gold", "answer", "outcome"),
    [
        ("1/3", "0.333333", "correct"),  # six digits of a fraction without end
        ("1/3", "0.3333", "incorrect"),
        ("0.333333", "1/3", "correct"),
        ("16386.17", "16386.2", "incorrect"),  # what ends can be written out
        ("123456789", "123456788.0", "incorrect"),
    ],
)
def test_rounding_is_accepted_only_where_the_digits_never_end(gold: str, answer: str, outcome: str) -> None:
    assert verify(f"#### {answer}", gold, "number").outcome == outcome


def test_the_flexible_score_takes_the_last_number_of_a_text_and_the_first_of_an_answer() -> None:
    text = "First she has 3. Then there are 2 more. All in all that makes 5 for her, if nobody takes any."
    assert verify_number(text, "5").reason == "no_marker"
    assert verify_number(text, "5", Setting(flexible=True)).tier == "loose"
    assert verify_number("#### 120 feet in 40 seconds", "120", Setting(flexible=True)).outcome == "correct"
