"""Answers that are one number: exact, in whatever form, and never by the engine."""

from __future__ import annotations

import pytest

from distill.verifiers import verify
from distill.verifiers.maths.number import verify_number
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
        ("A: 5 (five)", "5", "correct", "number"),
        ("A: 5 (or six)", "5", "incorrect", "answer_unparsed"),
        (r"\boxed{\text{\$18}}", "18", "correct", "number:unit_omitted"),
        ("A: 5 m/s", "5 meters per second", "correct", "number"),
        ("A: 45 mph", "45 km/h", "incorrect", "guard:unit"),
        ("A: about 5", "5", "correct", "number"),
        # the end of a calculation that holds
        ("A: 200 + 60 + 48 = 308", "308", "correct", "number"),
        ("A: 1,360 - (64 + 30 + 48) = 1,360 - 142 = 1,218", "1218", "correct", "number"),
        ("A: 4 days * 20 miles/day + 3 miles = 83 miles", "83", "correct", "number:unit_omitted"),
        ("A: 43 (her age) + 7 (his age) = 50", "50", "correct", "number"),
        ("A: 30 pots/week x 2 weeks = 60 pots", "60", "correct", "number:unit_omitted"),
        ("A: 90 / 3 = 30 bags, 30 bags * $5/bag = $150", "150", "correct", "number"),
        ("A: 12 / 48 = 25%", "25", "correct", "number:percent_omitted"),
        ("A: 8 washes/month * $15/wash * 12 months = $1,440/year", "1440", "correct", "number:unit_omitted"),
        ("A: 66 - 18 = 48 brownies left over", "48", "correct", "number:unit_omitted"),
        ("A: 200 + 60 + 48 = 318", "318", "incorrect", "answer_unparsed"),  # it does not hold
        ("A: 4 days * 20 miles/day = 80 miles", "20", "incorrect", "number"),
        ("A: 2 + 2 = 4 or 5", "5", "incorrect", "answer_unparsed"),
        ("A: 2 + 2 = 4, not 5", "4", "incorrect", "answer_unparsed"),
        ("A: It would be 2 + 2 = 4", "4", "incorrect", "answer_unparsed"),
        ("A: 1e5 = 15", "15", "incorrect", "answer_unparsed"),
        # a time of day on the hour
        ("A: 2:00 pm", "2", "correct", "number:unit_omitted"),
        ("A: 3:00 pm", "2", "incorrect", "number"),
        ("A: 2:10 pm", "2", "incorrect", "answer_unparsed"),
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


@pytest.mark.parametrize(
    ("answer", "gold", "outcome"),
    [
        ("One costs 3 * 4 = 12. For all 5 the cost is 5 * 12 = 60.", "60", "correct"),
        ("One costs 3 * 4 = 12. For all 5 the cost is 5 * 12 = 60.", "12", "incorrect"),
        ("She had 3 and got 4. Therefore, she has 7 apples.", "7", "correct"),
        ("She had 3 and got 4. Her brother has 7 apples.", "7", "incorrect"),  # no conclusion
        ("She had 3 and got 4. So she does not have 8 apples.", "8", "incorrect"),
        ("She had 3 and got 4. So she has 7 or 8 apples.", "7", "incorrect"),
        ("She had 3 and got 4. So she might have 7 apples.", "7", "incorrect"),
        ("She had 7 apples. So it cannot be told.", "7", "incorrect"),
    ],
)
def test_an_answer_of_several_sentences_says_what_its_last_one_concludes(answer: str, gold: str, outcome: str) -> None:
    assert verify(f"<answer>{answer}</answer>", gold, "number").outcome == outcome


def test_a_completion_that_only_ends_in_a_calculation_states_no_answer() -> None:
    text = "We know that he is twice as old. That means he is 15 * 2 = 30 years old."
    assert verify(text, "30", "number").reason == "no_marker"
    assert verify("3 + 4 = 7. And then some more of them came.", "7", "number").reason == "no_marker"
    assert verify("15 * 2 = 30 years", "30", "number").tier == "bare"


def test_the_flexible_score_takes_the_last_number_of_a_text_and_the_first_of_an_answer() -> None:
    text = "First she has 3. Then there are 2 more. All in all that makes 5 for her, if nobody takes any."
    assert verify_number(text, "5").reason == "no_marker"
    assert verify_number(text, "5", Setting(flexible=True)).tier == "loose"
    assert verify_number("#### 120 feet in 40 seconds", "120", Setting(flexible=True)).outcome == "correct"
