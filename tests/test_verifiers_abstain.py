"""Problems that cannot be solved: right is to say so, and a number is wrong."""

from __future__ import annotations

import pytest

from distill.records import Problem
from distill.verifiers import gold_problem, verify
from distill.verifiers.maths.abstain import abstains

MARKERS = ("####", "A:")

ABSTAINING = (
    "None",
    "#### None",
    "The answer is None.",
    r"\boxed{\text{None}}",
    r"So \boxed{\text{cannot be determined}}.",
    "<answer>cannot be determined</answer>",
    "<answer>The question leaves out how many boxes there are, so it is impossible to tell.</answer>",
    '{"reasoning": "no price", "answer": "Not enough information"}',
    '{"reasoning": "no price", "answer": "unknown"}',
    "#### Unknown",
    "The final answer is: it cannot be calculated.",
    "The price of a pen is not given, so the total cannot be determined.",
    "The problem does not say how long the walk was.",
    "The question doesn't mention his speed, and so we can't work out the time.",
    "We don’t know how many shelves there are, therefore we cannot calculate the number of books.",
    "There is not enough information to solve this problem.",
    "There isn't sufficient information here.",
    "She has 4 hens and sells 3 eggs a day. Without more information we are unable to answer.",
    "<answer>Not enough info</answer>",
    r"\boxed{\text{Not possible to determine}}",
    "More information is needed: how much does a ticket cost?",
    "I do not know the weight of the third bag, and it isn't stated.",
    "It is impossible to determine the share of each child.",
    "This problem is unsolvable as it stands.",
    "The problem is missing information about the second train.",
    "We lack the necessary information about the rent.",
    "He pays 5 for each, but the number of tickets was not specified. It cannot be answered.",
    "The cost of a pen is not given. If we assume that it is 2, the total would be 8.",
    "The data are incomplete.",
    "It is not possible for us to find the total.",
    "We would need to know the price. The given information does not allow us to calculate it.",
)

ANSWERING = (
    "#### 12",
    "#### 8, but it cannot really be determined",
    "#### 0",
    "The answer is 12.",
    r"\boxed{0}",
    "<answer>12</answer>",
    '{"answer": "12"}',
    "It cannot be determined exactly, but if a pen costs 2, the answer is 8.",
    "The price is not specified in the problem. Let us take 3.\n#### 12",
    "None of them were late.\n#### 0",
    "None of them were late, so the answer is 0.",
    r"We do not know the price yet, call it x. Then 4x = 12 and \boxed{3}",
)

SAYING_NOTHING = (
    "We do not know the price of the pens but what he pays for the 3 books is 8, as we have seen before",
    "None of them were late, so 0 of them stayed at home that day, and 4 came in all.",
    "She cannot be late twice. So she came on 3 days and then again on 2 more days of the week.",
    "They were not given to charity but sold, which makes 12 dollars for her and 3 dollars for him.",
    "We don't know how many there were at first, so call it x. Then 3x = 12. Therefore there were 4 of them.",
    "The price is not given. Each costs 2. So he pays 8 for all of them and has 3 left over then.",
    "He never told anyone, and nobody else knew about all of the 5 boxes and the 7 bags in there.",
    "She does not give 3 of her apples away. Hence 3 + 4 = 7 apples are left for the others to eat.",
    "He can't find his 3 keys. After an hour he has found 2 of them, and the other one turned up later.",
    "It takes no more than 3 hours to get there, and 2 hours to come back, which gives us 5 hours in all.",
    "I hope that this helps, and that the answer is as clear as it can be to all of you out there now.",
)


@pytest.mark.parametrize("text", ABSTAINING)
def test_saying_that_it_cannot_be_solved_is_right(text: str) -> None:
    verdict = verify(text, "None", "number", markers=MARKERS)
    assert (verdict.outcome.value, verdict.reason) == ("correct", "abstention")


@pytest.mark.parametrize("text", ANSWERING)
def test_a_number_is_wrong_whatever_is_said_on_the_way(text: str) -> None:
    verdict = verify(text, "None", "number", markers=MARKERS)
    assert (verdict.outcome.value, verdict.reason) == ("incorrect", "abstention")


@pytest.mark.parametrize("text", SAYING_NOTHING)
def test_words_that_only_look_like_abstaining_are_none(text: str) -> None:
    assert verify(text, "None", "number", markers=MARKERS).outcome.value == "no_answer"


@pytest.mark.parametrize("text", ["<think>It cannot be told.", "", "The price is not given"])
def test_what_is_cut_short_or_empty_abstains_from_nothing(text: str) -> None:
    assert verify(text, "None", "number", markers=MARKERS, finish_reason="length").reason == "truncated"


def test_abstaining_is_no_answer_to_a_problem_that_has_one() -> None:
    assert verify("The total cannot be determined.", "12", "number").outcome.value != "correct"
    assert verify("#### None", "12", "number", markers=MARKERS).outcome.value == "incorrect"


@pytest.mark.parametrize(("gold", "problem"), [("None", ""), ("none", ""), ("12", ""), ("", "gold_unparsed")])
def test_the_text_none_is_a_gold_of_numbers(gold: str, problem: str) -> None:
    assert gold_problem(Problem("1", "How many?", gold), "number") == problem


@pytest.mark.parametrize("phrase", ["It can not be determined", "it isn't known", "THERE IS NOT ENOUGH INFORMATION"])
def test_spelling_and_case_of_the_phrases_do_not_matter(phrase: str) -> None:
    assert abstains(phrase)


@pytest.mark.parametrize("text", ["#### None", "#### Unknown", "#### **Cannot be determined**"])
def test_nothing_is_stated_behind_the_usual_marker_too(text: str) -> None:
    assert verify(f"The price is missing.\n{text}", "None", "number").outcome == "correct"
    assert verify(f"That makes 12.\n{text}", "12", "number").outcome == "incorrect"
