"""maj@k, avg@k and pass@k against every set of k completions, counted one by one."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.evals.majority import majority_at_k
from distill.evals.metrics import pass_at_k
from distill.records import Outcome

RIGHT, WRONG, NONE, UNKNOWN = Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER, Outcome.UNVERIFIED
VOTES = st.lists(
    st.one_of(
        st.tuples(st.just(RIGHT), st.sampled_from(["4", "4.0"])),
        st.tuples(st.just(WRONG), st.sampled_from(["5", "6", "7", ""])),
        st.tuples(st.sampled_from([NONE, UNKNOWN]), st.sampled_from(["", "5"])),
    ),
    min_size=1,
    max_size=9,
)


def share_of_wins(drawn: tuple[tuple[Outcome, str], ...]) -> Fraction:
    """Whether the right answer has most votes of these, in parts where others have as many."""
    votes = Counter("right" if outcome is RIGHT else f"wrong {answer}"
                    for outcome, answer in drawn if outcome is RIGHT or (outcome is WRONG and answer))  # fmt: skip
    most = max(votes.values(), default=0)
    winners = [answer for answer, count in votes.items() if count == most]
    return Fraction("right" in winners, max(1, len(winners)))


@given(VOTES, st.integers(1, 9))
def test_majority_is_the_mean_over_all_sets_of_k(votes: list[tuple[Outcome, str]], k: int) -> None:
    k = min(k, len(votes))
    sets = list(combinations(votes, k))
    expected = sum(map(share_of_wins, sets), Fraction()) / len(sets)
    outcomes, answers = zip(*votes, strict=True)
    assert majority_at_k(outcomes, answers, k) == pytest.approx(float(expected), abs=1e-12)


@given(VOTES)
def test_the_vote_of_one_completion_is_its_accuracy(votes: list[tuple[Outcome, str]]) -> None:
    outcomes, answers = zip(*votes, strict=True)
    accuracy = sum(outcome is RIGHT for outcome in outcomes) / len(outcomes)
    assert majority_at_k(outcomes, answers, 1) == pytest.approx(accuracy)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_mean_over_all_sets_of_k_too(case: tuple[int, int, int]) -> None:
    n, correct, k = case
    sets = list(combinations([True] * correct + [False] * (n - correct), k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, sets)) / len(sets), abs=1e-12)


@given(VOTES, st.integers(1, 9))
def test_a_vote_cannot_be_won_where_no_completion_is_right(votes: list[tuple[Outcome, str]], k: int) -> None:
    k = min(k, len(votes))
    outcomes, answers = zip(*votes, strict=True)
    right = sum(outcome is RIGHT for outcome in outcomes)
    assert majority_at_k(outcomes, answers, k) <= pass_at_k(len(outcomes), right, k) + 1e-12


def test_64_different_answers_are_counted_at_once() -> None:
    outcomes, answers = (RIGHT,) * 8 + (WRONG,) * 56, tuple("4" * 8) + tuple(str(n) for n in range(56))
    # Of 32: two right ones or more win alone, a single one shares with 31 others.
    ways = [comb(8, right) * comb(56, 32 - right) for right in range(9)]
    expected = (sum(ways[2:]) + ways[1] / 32) / comb(64, 32)
    assert majority_at_k(outcomes, answers, 32) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [0, 3])
def test_more_votes_than_completions_are_not_defined(k: int) -> None:
    with pytest.raises(ValueError, match=f"maj@{k} of 2 completions"):
        majority_at_k((RIGHT, WRONG), ("4", "5"), k)
