"""Metrics of completions, worked out by hand."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import pytest

from distill.evals.metrics import (
    Means,
    Measurement,
    TemplateAdherence,
    mean_tokens,
    means,
    measure,
    pass_at_k,
    share,
    template_adherence,
    verbosity_ratio,
)
from distill.records import Completion, Outcome, Verdict


def measurement(outcome: Outcome, num_tokens: int = 10, *, repeated: int = 0, has_think: bool = False) -> Measurement:
    return Measurement(
        outcome=outcome,
        num_tokens=num_tokens,
        is_truncated=False,
        repeated_phrases=repeated,
        ngram_repetition=0.0,
        has_think=has_think,
        has_answer=True,
        has_boxed=False,
        is_well_formed=False,
    )


def naive_pass_at_k(num_completions: int, num_correct: int, k: int) -> float:
    """Draw every subset of k and look for a correct one."""
    solved = [index < num_correct for index in range(num_completions)]
    draws = list(combinations(solved, k))
    return float(Fraction(sum(any(draw) for draw in draws), len(draws)))


def test_pass_at_k_is_the_share_of_draws_with_a_correct_completion() -> None:
    for num_completions in range(1, 8):
        for num_correct in range(num_completions + 1):
            for k in range(1, num_completions + 1):
                assert pass_at_k(num_completions, num_correct, k) == naive_pass_at_k(num_completions, num_correct, k)


def test_pass_at_k_stays_exact_where_products_of_floats_would_drift() -> None:
    # 1 - C(9999, 5000) / C(10000, 5000) = 1 - 5000/10000
    assert pass_at_k(10_000, 1, 5_000) == 0.5
    assert pass_at_k(10_000, 0, 10_000) == 0.0
    assert pass_at_k(64, 3, 1) == 3 / 64


@pytest.mark.parametrize(("num_completions", "num_correct", "k"), [(4, 5, 1), (4, -1, 1), (4, 1, 5), (4, 1, 0)])
def test_pass_at_k_refuses_what_is_not_defined(num_completions: int, num_correct: int, k: int) -> None:
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(num_completions, num_correct, k)


def test_incorrect_means_wrong_or_without_answer_and_unverified_is_neither() -> None:
    tokens = mean_tokens(
        [
            measurement(Outcome.CORRECT, 100),
            measurement(Outcome.CORRECT, 140),
            measurement(Outcome.INCORRECT, 180),
            measurement(Outcome.NO_ANSWER, 240),
            measurement(Outcome.UNVERIFIED, 340),
        ]
    )
    # (100 + 140 + 180 + 240 + 340) / 5 = 200; (100 + 140) / 2 = 120; (180 + 240) / 2 = 210; 210 / 120 = 1.75
    assert tokens == Means(all=200.0, correct=120.0, incorrect=210.0)
    assert verbosity_ratio(tokens) == 1.75


def test_a_completion_of_unknown_length_is_left_out_of_the_lengths_only() -> None:
    items = [measurement(Outcome.CORRECT, -1, repeated=4), measurement(Outcome.CORRECT, 50, repeated=2)]
    assert mean_tokens(items) == Means(all=50.0, correct=50.0, incorrect=None)
    assert means(items, lambda item: item.repeated_phrases) == Means(all=3.0, correct=3.0, incorrect=None)


@pytest.mark.parametrize("tokens", [Means(9.0, None, 9.0), Means(9.0, 9.0, None), Means(0.0, 0.0, 9.0)])
def test_there_is_no_verbosity_ratio_without_two_lengths_to_divide(tokens: Means) -> None:
    assert verbosity_ratio(tokens) is None


def test_template_adherence_is_a_share_of_all_completions() -> None:
    items = [measurement(Outcome.CORRECT, has_think=True), *[measurement(Outcome.UNVERIFIED)] * 3]
    assert template_adherence(items) == TemplateAdherence(think=0.25, answer=1.0, boxed=0.0, well_formed=0.0)
    assert share([]) == 0.0


def test_a_completion_is_measured_by_its_text_and_how_it_ended() -> None:
    # "wait a bit" stands three times in a row: 3 - 1 = 2 repetitions. 3-grams: 9 words make 7, of which
    # the first 3 are different ones: 1 - 3/7.
    loop = Completion("wait a bit wait a bit wait a bit", num_tokens=9, finish_reason="length")
    measured = measure(loop, Verdict(Outcome.NO_ANSWER))
    assert (measured.outcome, measured.num_tokens, measured.is_truncated) == (Outcome.NO_ANSWER, 9, True)
    assert measured.repeated_phrases == 2
    assert measured.ngram_repetition == pytest.approx(1 - 3 / 7)
    assert not measured.has_think


def test_a_think_block_that_the_prompt_opened_counts_as_the_completions_own() -> None:
    text = "3+4=7</think>\n<answer>\\boxed{7}</answer>"
    opened = measure(Completion(text, think_opened=True), Verdict(Outcome.CORRECT))
    alone = measure(Completion(text), Verdict(Outcome.CORRECT))
    assert opened.has_think
    assert opened.is_well_formed
    assert not alone.is_well_formed
    assert alone.has_answer
    assert alone.has_boxed
