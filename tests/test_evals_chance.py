"""Intervals and tests against arithmetic done by hand, naive sums and the laws that they must obey."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.evals.chance import (
    Interval,
    accuracy_interval,
    mcnemar,
    paired_bootstrap,
    paired_interval,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        # z = 1.959964, z^2 = 3.841459.
        # (0 + z^2/20 ± z sqrt(z^2/400)) / (1 + z^2/10) = (0.192073 ± 0.192073) / 1.384146
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        # (0.8 + 0.192073 ± 1.959964 sqrt(0.016 + 0.009604)) / 1.384146 = (0.992073 ± 0.313616) / 1.384146
        (8, 10, 0.490162, 0.943318),
        # (0.5 + 0.001921 ± 1.959964 sqrt(0.00025 + 0.00000096)) / 1.003841
        (500, 1000, 0.469070, 0.530930),
    ],
)
def test_the_wilson_interval_is_the_one_worked_out_by_hand(successes: int, total: int, low: float, high: float) -> None:
    interval = wilson_interval(successes, total)
    assert interval.low == pytest.approx(low, abs=2e-6)
    assert interval.high == pytest.approx(high, abs=2e-6)


@given(st.integers(1, 400).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_wilson_interval_holds_the_proportion_and_mirrors_with_it(counts: tuple[int, int]) -> None:
    successes, total = counts
    interval = wilson_interval(successes, total)
    mirrored = wilson_interval(total - successes, total)
    assert 0 <= interval.low <= successes / total <= interval.high <= 1
    assert interval.low < interval.high
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - interval.high, 1 - interval.low))


@given(st.integers(1, 200).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_ends_of_the_wilson_interval_are_z_standard_errors_from_the_proportion(counts: tuple[int, int]) -> None:
    # The definition: the ends are the proportions p for which |p_hat - p| = z sqrt(p (1 - p) / n).
    successes, total = counts
    interval = wilson_interval(successes, total)
    for end in (interval.low, interval.high):
        away = abs(successes / total - end)
        assert away == pytest.approx(1.959964 * (end * (1 - end) / total) ** 0.5, abs=1e-6)


def test_more_confidence_is_wider_and_nothing_tried_says_nothing() -> None:
    narrow, wide = wilson_interval(30, 50, 0.8), wilson_interval(30, 50, 0.99)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert wilson_interval(0, 0) == accuracy_interval([]) == Interval(0.0, 1.0)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_with_one_completion_per_problem_the_accuracy_interval_is_wilsons(solved: list[bool]) -> None:
    interval, plain = accuracy_interval([float(each) for each in solved]), wilson_interval(sum(solved), len(solved))
    assert (interval.low, interval.high) == pytest.approx((plain.low, plain.high), abs=1e-12)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=60))
def test_the_accuracy_interval_lies_between_independent_and_identical_completions(num_correct: list[int]) -> None:
    num_problems, total = len(num_correct), sum(num_correct)
    interval = accuracy_interval([count / 8 for count in num_correct], completions_per_problem=8)
    identical, independent = wilson_interval(total / 8, num_problems), wilson_interval(total, 8 * num_problems)
    width = interval.high - interval.low
    assert width <= identical.high - identical.low + 1e-12
    assert width >= independent.high - independent.low - 1e-12
    assert interval.low <= total / (8 * num_problems) <= interval.high


def test_the_accuracy_interval_of_clustered_completions_uses_the_effective_sample_size() -> None:
    # Means 1, 0.5, 0.5, 0: p = 0.5, sum of squares 0.25 + 0 + 0 + 0.25 = 0.5, variance of the mean 0.5/4/4 = 1/32;
    # p (1 - p) / (1/32) = 8 independent tries, between the 4 problems and the 16 completions.
    assert accuracy_interval([1, 0.5, 0.5, 0], completions_per_problem=4) == wilson_interval(4, 8)


def test_a_model_that_solves_nothing_is_as_uncertain_as_its_problems_are_few() -> None:
    assert accuracy_interval([0.0] * 10, completions_per_problem=8) == wilson_interval(0, 10)


def naive_mcnemar(b: int, c: int) -> Fraction:
    """Every way in which b + c coins can fall; how many are at least as uneven."""
    total = b + c
    uneven = sum(abs(2 * sum(coins) - total) >= abs(b - c) for coins in product((0, 1), repeat=total))
    return Fraction(uneven, 2**total)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 1), (5, 0), (1, 5), (4, 4), (3, 8), (2, 10), (9, 4)])
def test_mcnemars_p_is_the_share_of_coin_falls_that_are_as_uneven(b: int, c: int) -> None:
    assert mcnemar(b, c).p == naive_mcnemar(b, c)


def test_mcnemar_does_not_care_which_model_comes_first_nor_overflows() -> None:
    assert mcnemar(40, 61).p == mcnemar(61, 40).p
    # 2 (sum of C(10000, i) for i <= 4900) / 2^10000; the normal approximation with half a problem of
    # continuity correction gives 2 Phi(-(100 - 0.5) / 50) = 2 Phi(-1.99) = 0.0466.
    assert mcnemar(5100, 4900).p == pytest.approx(0.0466, abs=1e-4)
    naive = Fraction(2 * sum(comb(2000, i) for i in range(951)), 2**2000)
    assert mcnemar(1050, 950).p == float(naive)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 200))
def test_the_paired_interval_holds_the_difference_and_turns_with_the_models(b: int, c: int, both: int) -> None:
    total = b + c + both + 1
    interval, turned = paired_interval(b, c, total), paired_interval(c, b, total)
    assert -1 <= interval.low < (b - c) / total < interval.high <= 1
    assert (turned.low, turned.high) == pytest.approx((-interval.high, -interval.low))


def test_the_paired_interval_is_the_one_worked_out_by_hand() -> None:
    # b, c, n = 31 + 1, 9 + 1, 198 + 2: (32 - 10) / 200 = 0.11; sqrt((42/200 - 0.11^2) / 200) = sqrt(0.1979 / 200)
    # = 0.0314563; 1.959964 times that is 0.0616532.
    interval = paired_interval(31, 9, 198)
    assert (interval.low, interval.high) == pytest.approx((0.0483468, 0.1716532), abs=1e-6)


def test_the_bootstrap_varies_as_much_as_the_standard_error_says() -> None:
    # 400 differences of ±1/2: mean 0.05; standard deviation sqrt(0.25 - 0.0025) = 0.497494,
    # standard error 0.497494 / 20 = 0.0248747, so the interval is about 0.05 ± 0.04875.
    differences = [0.5] * 220 + [-0.5] * 180
    bootstrap = paired_bootstrap(differences)
    assert bootstrap.interval.low == pytest.approx(0.05 - 0.04875, abs=0.004)
    assert bootstrap.interval.high == pytest.approx(0.05 + 0.04875, abs=0.004)
    # Means lie 0.0025 apart and 0 counts for both sides: 2 Phi(-(0.05 - 0.00125) / 0.0248747) = 2 Phi(-1.96) = 0.05;
    # 10,000 resamples give that tail of 0.025 to within 0.0016, one standard error.
    assert bootstrap.p == pytest.approx(0.05, abs=0.007)


def test_the_bootstrap_repeats_itself_and_turns_with_the_models() -> None:
    differences = [0.25] * 30 + [0.0] * 50 + [-0.5] * 10
    bootstrap, turned = paired_bootstrap(differences), paired_bootstrap([-value for value in differences])
    assert bootstrap == paired_bootstrap(list(reversed(differences)))
    assert turned.p == pytest.approx(bootstrap.p, abs=0.02)
    assert turned.interval.high == pytest.approx(-bootstrap.interval.low, abs=0.01)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([0.0] * 12, 1.0),  # all on both sides
        ([1.0] * 12, 2 / 10_001),  # no resample at or below 0, but the sample itself counts once
        # Of 27 resamples 6 are exactly 0, 11 above it and 10 below: 17 and 16 lie on either side. Floats say
        # 0.1 + 0.2 - 0.3 > 0; had that put the 6 on one side only, p would be 2 * 10/27 = 0.74.
        ([0.1, 0.2, -0.3], 1.0),
    ],
)
def test_the_bootstrap_of_clear_cases(differences: list[float], p: float) -> None:
    assert paired_bootstrap(differences).p == pytest.approx(p, rel=1e-12)
