"""Group advantages: AdvDistill equation 4, by hand and by law."""

from __future__ import annotations

from itertools import pairwise
from math import isclose, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.advantages import group_advantages

reward_lists = st.lists(st.none() | st.floats(-20, 20).map(lambda reward: round(reward, 3)), max_size=9)


def test_advantages_by_hand():
    # mean 1; squares 4 + 0 + 4 = 8; unbiased variance 8 / 2 = 4, std 2; eps 0.5: (3 - 1) / 2.5 = 0.8
    assert group_advantages([3.0, 1.0, -1.0], eps=0.5) == (0.8, 0.0, -0.8)


def test_ddof_zero_divides_the_variance_by_n():
    # mean 1; squares 1 + 1 = 2; variance 2 / 2 = 1
    assert group_advantages([2.0, 0.0], eps=0.0, ddof=0) == (1.0, -1.0)


def test_default_eps_is_the_one_of_grpo():
    std = sqrt(0.5)  # of 0 and 1, unbiased
    assert group_advantages([1.0, 0.0]) == pytest.approx((0.5 / (std + 1e-4), -0.5 / (std + 1e-4)), abs=1e-15)


def test_unrewarded_completions_are_left_out_of_mean_and_std():
    with_none = group_advantages([3.0, None, 1.0, None, -1.0])
    assert [advantage for advantage in with_none if advantage is not None] == list(group_advantages([3.0, 1.0, -1.0]))
    assert with_none[1] is None
    assert with_none[3] is None


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([], ()),
        ([1.5], (0.0,)),
        ([None, None], (None, None)),
        ([None, 2.0], (None, 0.0)),  # one rewarded completion: an unbiased deviation would be 0 / 0
        ([0.1, 0.1, 0.1], (0.0, 0.0, 0.0)),  # the rounded mean of three 0.1 is not 0.1
        ([-1.0] * 8, (0.0,) * 8),
    ],
)
def test_a_group_that_cannot_be_compared_has_no_advantage(rewards, expected):
    assert group_advantages(rewards, eps=0.0) == expected


@settings(deadline=None)
@given(reward_lists)
def test_advantages_sum_to_zero_and_keep_the_order_of_rewards(rewards):
    advantages = group_advantages(rewards)
    assert [advantage is None for advantage in advantages] == [reward is None for reward in rewards]
    pairs = sorted((r, a) for r, a in zip(rewards, advantages, strict=True) if r is not None and a is not None)
    assert isclose(sum(advantage for _, advantage in pairs), 0.0, abs_tol=1e-9)
    assert all(earlier <= later for (_, earlier), (_, later) in pairwise(pairs))


@settings(deadline=None)
@given(reward_lists, st.integers(-100, 100))
def test_a_constant_added_to_all_rewards_changes_nothing(rewards, constant):
    shifted = [None if reward is None else reward + constant for reward in rewards]
    if len({reward for reward in shifted if reward is not None}) == len({r for r in rewards if r is not None}):
        assert group_advantages(shifted) == pytest.approx(group_advantages(rewards), abs=1e-6)
