"""Completions that end in a loop: when they do, and what that takes away."""

from __future__ import annotations

import statistics
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.verifiers import verify
from distill.verifiers.maths.number import verify_number
from distill.verifiers.reading.degenerate import MIN_CHARACTERS, MIN_ROUNDS, ends_in_loop
from distill.verifiers.reading.extract import answer_region
from distill.verifiers.setting import Setting


@pytest.mark.parametrize(
    ("text", "is_loop"),
    [
        ("We need x. " * 30, True),
        ("We need x. " * 30 + "We ne", True),  # cut inside a round
        ("We need x. " * 30 + "\n\n ", True),
        ("So far, so good.\n" + "0" * 200, True),
        ("1428570" * 50, True),
        ("abaa" * 60, True),
        ("First a long start that says a lot. " + ("I think that it is so, because he said so. " * 5), True),
        ("a" * 70 + "b", False),
        ("We need x. " * 30 + "It is 4.", False),
        ("We need x. " * 18, False),  # 198 characters
        ("x" * 199, False),
        ("x" * 200, True),
        ((("word " * 12).strip() + ". ") * 3, False),  # loops inside, and three rounds only
        (
            "The first of these lines is as long as a line may be, and it stands three times in all.\n" * 3 + "The",
            False,
        ),
        ("The first of these lines is as long as a line may be, and it stands four times in all.\n" * 4 + "The", True),
        (" ".join(str(number) for number in range(500)), False),
        ("".join(f"Step {number}: add one.\n" for number in range(99)), False),  # it counts, so it goes somewhere
        ("", False),
        (" " * 1_000, False),
    ],
)
def test_a_loop_is_four_rounds_and_two_hundred_characters_to_the_end(text: str, is_loop: bool) -> None:
    assert ends_in_loop(text) is is_loop


def naive(text: str) -> bool:
    """The definition, word for word."""
    text = text.rstrip()
    return any(
        text[-length:][:-period] == text[-length:][period:]
        for length in range(MIN_CHARACTERS, len(text) + 1)
        for period in range(1, length // MIN_ROUNDS + 1)
    )


@settings(max_examples=60, deadline=None)
@given(st.text("ab. ", max_size=40), st.text("ab. ", min_size=1, max_size=70), st.integers(1, 6), st.integers(0, 70))
def test_the_prefix_function_finds_what_a_naive_loop_finds(head: str, phrase: str, rounds: int, rest: int) -> None:
    text = head + phrase * rounds + phrase[:rest]
    assert ends_in_loop(text) == naive(text)


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        ("<think>" + "Let me see. " * 30, "length", "degenerate"),
        ("<think>" + "Let me see. " * 30, "stop", "degenerate"),
        ("<think>hm</think>" + "Let me see. " * 30, "length", "degenerate"),
        ("Let me see. " * 30, "stop", "degenerate"),
        ("We add 3 and 4. " * 30, "stop", "degenerate"),
        ("<think>" + "Let me see. " * 30 + "and", "length", "truncated"),
    ],
)
def test_a_loop_without_an_answer_is_the_reason_before_any_other(text: str, finish_reason: str, reason: str) -> None:
    for flexible in (False, True):
        verdict = verify_number(text, "4", Setting(flexible=flexible, finish_reason=finish_reason))  # type: ignore[arg-type]
        assert (verdict.outcome.value, verdict.reason) == ("no_answer", reason)


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 4. " + "I hope so. " * 40,
        "The answer is 4.\n" * 40,
        r"\boxed{4} " * 40,
        "<think>" + "Hm. " * 99 + "</think>The answer is 4.",
        "<answer>4</answer>" * 40,
        "The answer is 4.\n\n" + "Question: and?\nThe answer is 5.\n\n" * 40,  # the loop is cut off
        "The answer is 4.<|im_end|>" + "<|im_end|>" * 40,
    ],
)
def test_a_loop_takes_back_nothing_that_is_stated(text: str) -> None:
    assert verify(text, "4", "number").outcome == "correct"


def test_a_large_table_of_equal_cells_is_an_answer() -> None:
    grid = "\n".join(["0 " * 19 + "0"] * 20)
    assert answer_region(grid).degenerate
    assert verify(grid, grid, "text").outcome == "correct"


PHRASES = ("a", "The answer is ", "We need x. ", r"\boxed{1", "ab" * 2_000, "<think>", "no \n")


def _seconds(text: str) -> float:
    samples = []
    for _ in range(5):
        started = time.process_time()
        answer_region(text)
        samples.append(time.process_time() - started)
    return statistics.median(samples)


@pytest.mark.parametrize("phrase", PHRASES)
def test_reading_twice_the_text_takes_about_twice_as_long(phrase: str) -> None:
    """From a million characters to two: 4 times where a step is quadratic; short times are all noise, so some are added."""
    text = phrase * (1_000_000 // len(phrase))
    assert _seconds(text + text) < 3 * (_seconds(text) + 0.02)
