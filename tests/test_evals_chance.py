"""Intervals and tests against arithmetic done by hand, naive sums and the laws that they must obey."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from math import comb, exp, lgamma, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.evals.chance import (
    Interval,
    PairedBootstrap,
    _t,
    accuracy_interval,
    holm,
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


def test_clusters_that_are_all_alike_count_as_one_problem_each() -> None:
    means, clusters = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0], [1, 1, 2, 2, 3, 3]
    interval, expected = accuracy_interval(means, clusters=clusters), wilson_interval(2, 3)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert accuracy_interval(means, clusters=range(6)) == accuracy_interval(means)
    assert accuracy_interval([1.0] * 6, clusters=clusters) == wilson_interval(3, 3)


def test_clusters_that_cancel_out_are_worth_more_than_their_problems_only_up_to_the_completions() -> None:
    # Each cluster holds a 1 and a 0: their sums about p = 0.5 are 0, so nothing varies between clusters.
    assert accuracy_interval([1.0, 0.0] * 4, clusters=[0, 0, 1, 1, 2, 2, 3, 3]) == wilson_interval(4, 8)


def test_a_bootstrap_by_cluster_is_that_of_the_cluster_means_where_clusters_are_of_one_size() -> None:
    per_cluster = [0.5, 0.0, 0.25, -0.25, 0.0, 0.5, 0.25, 0.0] * 4
    differences = [value for mean in per_cluster for value in (mean + 0.25, mean - 0.25)]
    clusters = [number // 2 for number in range(len(differences))]
    assert paired_bootstrap(differences, clusters=clusters) == paired_bootstrap(per_cluster)
    assert paired_bootstrap(differences, clusters=range(len(differences))) == paired_bootstrap(differences)


def test_a_resample_is_divided_by_the_problems_that_it_holds() -> None:
    # A cluster of 9 problems that all differ by 1, and 9 clusters of one problem each that differ by 0.
    differences = [1.0] * 9 + [0.0] * 9
    clusters = [0] * 9 + list(range(1, 10))
    bootstrap = paired_bootstrap(differences, clusters=clusters)
    # The large one is drawn not at all in (9/10)^10 = 35 % of resamples, whose mean is then 0 / 10; and k times
    # otherwise, when the mean is 9 k / (8 k + 10). k <= 2 holds in 93.0 % of them and k <= 3 in 98.7 %, so the
    # quantile of 97.5 % is 27/34, moved away from the mean of 1/2.
    assert bootstrap.p == pytest.approx(2 * 0.9**10, abs=0.03)
    factor = (10 / 9) ** 0.5 * 2.262157 / 1.959964  # t of 9 degrees of freedom over z
    assert bootstrap.interval.high == pytest.approx(0.5 + factor * (27 / 34 - 0.5), abs=1e-4)


def test_a_single_cluster_says_nothing() -> None:
    assert paired_bootstrap([1.0] * 8, clusters=[0] * 8) == PairedBootstrap(Interval(-1.0, 1.0), 1.0)


def test_holms_p_is_never_below_the_one_it_adjusts_and_keeps_their_order() -> None:
    # 3 * 0.5 is more than 1; 4 * 0.001 = 0.004; 3 * 0.02 = 0.06; 2 * 0.5 = 1; the last may not fall below it.
    assert holm([0.5, 0.001, 0.02, 0.6]) == pytest.approx([1.0, 0.004, 0.06, 1.0])
    assert holm([]) == []
    assert holm([0.03]) == [0.03]


def bernoullis(draw: np.random.Generator, chances: np.ndarray) -> np.ndarray:
    return (draw.random(chances.shape) < chances).astype(float)


def coverage(covers: Callable[[np.random.Generator], bool], times: int) -> float:
    draw = np.random.default_rng(20_261)
    return sum(covers(draw) for _ in range(times)) / times


@pytest.mark.parametrize(("total", "p"), [(30, 0.1), (100, 0.5), (100, 0.02), (1319, 0.9)])
def test_wilsons_interval_holds_the_truth_nineteen_times_in_twenty(total: int, p: float) -> None:
    # Exact: every possible count, weighted by its chance. Of a discrete count no interval has 95 % everywhere.
    held = 0.0
    for successes in range(total + 1):
        interval = wilson_interval(successes, total)
        if interval.low <= p <= interval.high:
            ways = lgamma(total + 1) - lgamma(successes + 1) - lgamma(total - successes + 1)
            held += exp(ways + successes * log(p) + (total - successes) * log(1 - p))
    assert 0.925 <= held <= 0.985


@pytest.mark.parametrize(("problems", "completions"), [(30, 8), (300, 4)])
def test_the_interval_of_repeated_completions_holds_the_truth(problems: int, completions: int) -> None:
    def covers(draw: np.random.Generator) -> bool:
        chances = draw.beta(0.6, 0.9, problems)  # problems differ much, as easy and hard ones do
        means = bernoullis(draw, np.repeat(chances[:, None], completions, axis=1)).mean(axis=1)
        interval = accuracy_interval(means.tolist(), completions)
        return interval.low <= 0.6 / 1.5 <= interval.high

    assert 0.93 <= coverage(covers, 2000) <= 0.97


def test_only_the_clustered_interval_holds_the_truth_where_variants_are_alike() -> None:
    clusters = np.repeat(np.arange(60), 8).tolist()

    def covers(draw: np.random.Generator, given: list[int] | None) -> bool:
        means = bernoullis(draw, np.repeat(draw.beta(0.6, 0.9, 60), 8))
        interval = accuracy_interval(means.tolist(), clusters=given)
        return interval.low <= 0.6 / 1.5 <= interval.high

    assert 0.93 <= coverage(lambda draw: covers(draw, clusters), 2000) <= 0.97
    assert coverage(lambda draw: covers(draw, None), 500) < 0.75


@pytest.mark.parametrize(("total", "first", "second"), [(60, 0.5, 0.6), (400, 0.85, 0.8)])
def test_the_interval_of_a_difference_holds_the_truth(total: int, first: float, second: float) -> None:
    def covers(draw: np.random.Generator) -> bool:
        luck = draw.random(total)  # shared in part, so that the models solve much the same problems
        ours = np.where(draw.random(total) < 0.5, luck, draw.random(total)) < first
        theirs = luck < second
        interval = paired_interval(int((ours & ~theirs).sum()), int((theirs & ~ours).sum()), total)
        return interval.low <= first - second <= interval.high

    assert 0.935 <= coverage(covers, 2000) <= 0.97


@pytest.mark.parametrize(("num_clusters", "size"), [(12, 8), (30, 1), (300, 8)])
def test_the_bootstraps_interval_holds_the_truth_with_few_clusters_too(num_clusters: int, size: int) -> None:
    clusters = np.repeat(np.arange(num_clusters), size).tolist()

    def covers(draw: np.random.Generator) -> bool:
        hard = np.repeat(draw.beta(1, 1, num_clusters), size)[:, None]
        ours, theirs = (bernoullis(draw, np.repeat(chance, 4, axis=1)) for chance in (hard**0.5, hard))
        bootstrap = paired_bootstrap((ours - theirs).mean(axis=1).tolist(), clusters=clusters, num_resamples=1000)
        return bootstrap.interval.low <= 2 / 3 - 1 / 2 <= bootstrap.interval.high

    assert 0.92 <= coverage(covers, 600) <= 0.98


def test_equal_models_differ_beyond_chance_once_in_twenty_by_either_test() -> None:
    def rejected(draw: np.random.Generator) -> bool:
        ours, theirs = (bernoullis(draw, np.full((80, 2), 0.6)) for _ in range(2))
        return paired_bootstrap((ours - theirs).mean(axis=1).tolist(), num_resamples=1000).p < 0.05

    def mcnemar_rejected(draw: np.random.Generator) -> bool:
        ours, theirs = draw.random(400) < 0.6, draw.random(400) < 0.6
        return mcnemar(int((ours & ~theirs).sum()), int((theirs & ~ours).sum())).p < 0.05

    assert 0.03 <= coverage(rejected, 800) <= 0.07
    assert 0.02 <= coverage(mcnemar_rejected, 2000) <= 0.05  # an exact test keeps below


def test_intervals_and_tests_are_those_of_statsmodels() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    draw = np.random.default_rng(0)
    for total in (1, 10, 80, 1319):
        for successes in {0, total, *draw.integers(0, total + 1, 5).tolist()}:
            interval = wilson_interval(successes, total)
            expected = proportion.proportion_confint(successes, total, method="wilson")
            assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-12)
    for b, c in draw.integers(0, 90, (30, 2)).tolist():
        expected = tables.mcnemar([[5, b], [c, 7]], exact=True).pvalue
        assert mcnemar(b, c).p == pytest.approx(min(1.0, expected), abs=1e-12)
    ps = draw.random(20).tolist()
    assert holm(ps) == pytest.approx(multitest.multipletests(ps, method="holm")[1].tolist())


def test_the_bootstrap_and_the_quantile_of_t_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for degrees, digits in ((2, 0.04), (5, 0.005), (11, 3e-4), (29, 1e-5), (299, 1e-6)):
        assert _t(0.95, degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=digits)
    values = np.random.default_rng(1).choice([-0.5, 0.0, 0.25, 1.0], 120, p=[0.2, 0.4, 0.3, 0.1])
    ours = paired_bootstrap(values.tolist(), num_resamples=50_000).interval
    # scipy's percentiles, moved away from the mean by the same factor
    theirs = stats.bootstrap((values,), np.mean, n_resamples=50_000, method="percentile", rng=2).confidence_interval
    factor = (120 / 119) ** 0.5 * stats.t.ppf(0.975, 119) / stats.norm.ppf(0.975)
    expected = [values.mean() + factor * (end - values.mean()) for end in theirs]
    assert [ours.low, ours.high] == pytest.approx(expected, abs=0.004)
