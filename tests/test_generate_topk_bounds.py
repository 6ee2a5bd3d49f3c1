"""Bounds of an entropy from the k largest log-probabilities: they enclose the truth, and nothing tighter would."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.errors import DistillError
from distill.generate.topk_bounds import bounds_of_tokens, stored_bounds, told_of_token, topk_entropy_bounds


def entropy(p: np.ndarray) -> float:
    return -sum(float(x) * math.log(x) for x in p if x > 0)


def bounds_of(p: np.ndarray, k: int) -> tuple[float, float]:
    with np.errstate(divide="ignore"):
        known = np.log(np.sort(p)[::-1][:k])
    bounds = topk_entropy_bounds([known], vocabulary=len(p))
    return float(bounds.lower[0]), float(bounds.upper[0])


@settings(deadline=None)
@given(st.lists(st.floats(0, 8), min_size=1, max_size=12), st.integers(1, 12), st.booleans())
def test_the_entropy_lies_between_the_bounds(logits: list[float], k: int, sharp: bool) -> None:
    weights = np.exp(np.array(logits) * (20 if sharp else 1))
    p = weights / weights.sum()
    lower, upper = bounds_of(p, min(k, len(p)))
    assert lower - 1e-9 <= entropy(p) <= upper + 1e-9


def test_no_tail_that_fits_is_beyond_the_bounds_and_some_reach_them() -> None:
    # the head is known: 0.3 and 0.2, so 0.5 lie on four words of at most 0.2: every split on a grid of 1/40
    head, words, steps = [0.3, 0.2], 4, 20
    cap = 8  # 0.2 in steps of 0.025
    found = []
    for a in range(cap + 1):
        for b in range(cap + 1):
            for c in range(cap + 1):
                d = steps - a - b - c
                if 0 <= d <= cap:
                    found.append(entropy(np.array(head + [x / 40 for x in (a, b, c, d)])))
    lower, upper = bounds_of(np.array([*head, *[0.5 / words] * words]), k=2)
    assert min(found) == pytest.approx(lower, abs=1e-9)  # 0.2, 0.2, 0.1, 0
    assert max(found) == pytest.approx(upper, abs=1e-9)  # 0.125 each


def test_the_whole_vocabulary_has_no_tail() -> None:
    # log-probabilities rounded to three digits sum to 0.9993: that is no fifth word
    p = np.array([0.5, 0.25, 0.2, 0.05])
    bounds = topk_entropy_bounds([np.floor(np.log(p) * 1000) / 1000], vocabulary=4)
    assert bounds.lower[0] == bounds.upper[0] == pytest.approx(entropy(p), abs=2e-3)


@pytest.mark.parametrize(
    ("exponent", "true", "lower", "upper"),
    # Zipf distributions over 151,936 words and their 20 largest; the lower bounds are a little above
    # H_20 + e log(1 / p_20), which piles up fractions of a word
    [(3.0, 0.68, 0.68, 0.69), (2.0, 1.64, 1.58, 1.84), (1.5, 3.18, 2.70, 4.08), (1.1, 6.89, 4.46, 8.59)],
)
def test_bounds_of_zipf_distributions(exponent: float, true: float, lower: float, upper: float) -> None:
    weights = np.arange(1, 151_937) ** -exponent
    p = weights / weights.sum()
    found_lower, found_upper = bounds_of(p, k=20)
    assert entropy(p) == pytest.approx(true, abs=0.005)
    assert lower - 0.005 <= found_lower <= lower + 0.03
    assert found_upper == pytest.approx(upper, abs=0.005)


def test_more_log_probabilities_never_loosen_the_bounds() -> None:
    p = np.random.default_rng(0).dirichlet(np.full(50, 0.3))
    lowers, uppers = zip(*(bounds_of(p, k) for k in range(1, 51)), strict=True)
    assert all(a <= b + 1e-9 for a, b in pairwise(lowers))
    assert all(a >= b - 1e-9 for a, b in pairwise(uppers))
    assert lowers[-1] == pytest.approx(uppers[-1], abs=1e-6)


def test_rounded_log_probabilities_leave_the_bounds_in_order() -> None:
    # ten words alike; log 0.1 = -2.303 rounded to -2.4 leaves 0.27 for one word of at most 0.09
    bounds = topk_entropy_bounds([[-2.4] * 9], vocabulary=10)
    assert 2.2 < bounds.lower[0] <= bounds.upper[0] < math.log(10) + 0.1


def test_a_certain_token_has_no_entropy() -> None:
    bounds = topk_entropy_bounds([[0.0, -math.inf], [0.0, -9999.0]], vocabulary=151_936)
    assert bounds.lower.tolist() == bounds.upper.tolist() == [0.0, 0.0]


def test_a_completion_without_tokens_has_no_bounds() -> None:
    bounds = topk_entropy_bounds([], vocabulary=10)
    assert bounds.lower.shape == bounds.upper.shape == (0,)


@pytest.mark.parametrize(
    ("logprobs", "message"),
    [
        ([[-0.1, -3.0], [-0.2]], "different numbers"),
        ([-0.1, -3.0], "shape"),
        ([[-3.0] * 5], "shape"),
        ([[-0.1, -0.1]], "probability of 1.8"),
        ([[math.nan, -1.0]], "probability of nan"),
    ],
)
def test_what_cannot_be_log_probabilities_is_refused(logprobs: list[object], message: str) -> None:
    with pytest.raises(DistillError, match=message):
        topk_entropy_bounds(logprobs, vocabulary=4)  # type: ignore[arg-type]


def test_stored_bounds_still_enclose_what_was_bounded() -> None:
    p = np.random.default_rng(1).dirichlet(np.full(300, 0.2), size=200)
    bounds = topk_entropy_bounds(np.log(np.sort(p, axis=1)[:, ::-1][:, :20] + 1e-300), vocabulary=300)
    stored = stored_bounds(bounds)
    assert stored.lower.dtype == stored.upper.dtype == np.float16
    assert bool((stored.lower <= bounds.lower).all())
    assert bool((stored.upper >= bounds.upper).all())
    assert bool((stored.upper - stored.lower <= bounds.upper - bounds.lower + 2 * 2**-8).all())


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 8), min_size=4, max_size=12, unique=True),
    st.integers(1, 6),
    st.integers(0, 11),
    st.sampled_from(["beside", "in place of the last", "not at all"]),
    st.booleans(),
)
def test_whatever_an_engine_does_with_the_sampled_word_the_bounds_enclose_the_entropy(
    logits: list[float], top_k: int, rank: int, how: str, loses_one: bool
) -> None:
    weights = np.exp(np.array(sorted(logits, reverse=True)))
    p = weights / weights.sum()
    top_k, rank = min(top_k, len(p)), min(rank, len(p) - 1)
    listed = list(range(top_k))
    if rank >= top_k and how != "not at all":
        listed = [*listed[: top_k - (how == "in place of the last")], rank]
    if loses_one and len(listed) > 1:  # its text is that of another
        listed.remove(next(place for place in listed if place != rank))
    values = [math.log(p[place]) for place in listed]
    told = told_of_token(values, math.log(p[rank]), top_k, distinct=not loses_one)
    (lower,), (upper,) = bounds_of_tokens([told], len(p))
    assert lower - 1e-6 <= entropy(p) <= upper + 1e-6


def test_tokens_of_which_less_is_told_do_not_change_the_bounds_of_others() -> None:
    full = ((math.log(0.5), math.log(0.25)), math.log(0.25))
    short = ((math.log(0.5),), math.log(0.5))
    alone, both = bounds_of_tokens([full], 1000), bounds_of_tokens([full, short], 1000)
    assert both[0][0] == alone[0][0]
    assert both[1][0] == pytest.approx(alone[1][0], abs=2e-3)
    assert both[1][0] >= alone[1][0]


def test_where_a_larger_word_may_be_missing_the_tail_may_be_one_word() -> None:
    # of 1/2 and 1/8 are told: the missing 3/8 may be one word, H = 1/2 log 2 + 1/8 log 8 + 3/8 log(8/3)
    told = told_of_token([math.log(0.5), math.log(0.125)], math.log(0.125), 2, distinct=False)
    assert told[1] == 0.0
    (lower,), _ = bounds_of_tokens([told], 1000)
    assert lower == pytest.approx(0.5 * math.log(2) + 0.125 * math.log(8) + 0.375 * math.log(8 / 3), abs=1e-3)
