"""How sure an accuracy is, and whether two models differ by more than chance.

Plain arithmetic on the problems of a benchmark; only the bootstrap draws, from a fixed seed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float


def wilson_interval(successes: float, total: float, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927); 0 to 1 when nothing was tried.

        (p + z^2 / 2n ± z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Unlike the normal interval it never has width 0 and never leaves 0 ... 1.

    Args:
        successes: may be a fraction, as may ``total``, when they stand for an effective sample size.

    >>> interval = wilson_interval(5, 10)  # z = 1.96: (0.5 + 0.192 ± 0.364) / 1.384
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.2366, 0.7634)
    """
    if total <= 0:
        return Interval(0.0, 1.0)
    z = _z(confidence)
    p = successes / total
    center = p + z * z / (2 * total)
    margin = z * sqrt(p * (1 - p) / total + (z / (2 * total)) ** 2)
    scale = 1 + z * z / total
    # At 0 and at all successes one end is exact in theory and a rounding error away in floats.
    low = 0.0 if successes == 0 else max(0.0, (center - margin) / scale)
    high = 1.0 if successes == total else min(1.0, (center + margin) / scale)
    return Interval(low, high)


def accuracy_interval(
    problem_means: Sequence[float],
    completions_per_problem: int = 1,
    confidence: float = 0.95,
    clusters: Sequence[Hashable] | None = None,
) -> Interval:
    """Wilson's interval of avg@N that knows that completions of a problem, and problems of a cluster, are alike.

    Its n is the effective sample size: the number of independent tries whose proportion would vary as
    much as the mean of the problem means does,

        n_eff = p (1 - p) / variance of the mean,    variance = sum over clusters of (sum of x_i - p)^2 / n^2.

    With N = 1 and no clusters it is the number of problems, so this is the plain interval. Without clusters it
    lies between the number of problems (completions of a problem all alike) and the number of completions.

    Args:
        clusters: which cluster each problem belongs to, such as the seed problem it is a variant of; None
            makes each problem one of its own.

    >>> accuracy_interval([1, 0, 1, 0]) == wilson_interval(2, 4)
    True
    >>> accuracy_interval([0.5, 0.5, 0.5, 0.5], completions_per_problem=8) == wilson_interval(16, 32)
    True
    >>> accuracy_interval([1, 1, 0, 0], clusters="aabb") == wilson_interval(1, 2)  # two tries, not four
    True
    """
    num_problems = len(problem_means)
    if num_problems == 0:
        return Interval(0.0, 1.0)
    p = fsum(problem_means) / num_problems
    sums = [total for total, _ in _cluster_sums([value - p for value in problem_means], clusters)]
    spread = fsum(total**2 for total in sums)
    most = float(num_problems * completions_per_problem)
    effective = min(most, num_problems**2 * p * (1 - p) / spread) if spread > 0 else most
    if p in {0.0, 1.0}:
        effective = len(sums)  # nothing varied, so nothing says that anything was independent but the clusters
    return wilson_interval(p * effective, effective, confidence)


def _cluster_sums(values: Sequence[float], clusters: Sequence[Hashable] | None) -> list[tuple[float, int]]:
    """Sum and number of the values of each cluster; without clusters each value is one."""
    if clusters is None:
        return [(value, 1) for value in values]
    members: defaultdict[Hashable, list[float]] = defaultdict(list)
    for value, cluster in zip(values, clusters, strict=True):
        members[cluster].append(value)
    return [(fsum(group), len(group)) for group in members.values()]


@dataclass(frozen=True, slots=True)
class McNemar:
    """Problems that only one of two models solved, and how likely so uneven a split is by chance."""

    b: int
    """Solved by the first model only."""
    c: int
    """Solved by the second model only."""
    p: float


def mcnemar(b: int, c: int) -> McNemar:
    """McNemar's exact test, two-sided: were the b + c problems that tell the models apart shared out by a fair coin?

        p = min(1, 2 * sum over i <= min(b, c) of C(b + c, i) / 2^(b + c))

    >>> mcnemar(1, 5).p  # 2 (C(6,0) + C(6,1)) / 64 = 14/64
    0.21875
    >>> mcnemar(3, 3).p, mcnemar(0, 0).p
    (1.0, 1.0)
    """
    total, term, tail = b + c, 1, 0
    for i in range(min(b, c) + 1):
        tail += term
        term = term * (total - i) // (i + 1)
    # Integers, divided once: 2^-(b + c) alone is no float beyond some 1,000 problems.
    return McNemar(b, c, min(2 * tail, 2**total) / 2**total)


def paired_interval(b: int, c: int, total: int, confidence: float = 0.95) -> Interval:
    """The interval of the difference in accuracy (b - c) / total of two models on the same problems.

    Wald's interval after one problem more on either side (Bonett and Price 2012), which keeps its
    promise in small samples and has a width even where no problem tells the models apart.

    >>> interval = paired_interval(6, 2, 10)  # b, c, n = 7, 3, 12: 4/12 ± 1.96 sqrt((10/12 - (4/12)^2) / 12)
    >>> round(interval.low, 3), round(interval.high, 3)
    (-0.147, 0.814)
    """
    first, second = (b + 1) / (total + 2), (c + 1) / (total + 2)
    difference = first - second
    margin = _z(confidence) * sqrt((first + second - difference**2) / (total + 2))
    return Interval(max(-1.0, difference - margin), min(1.0, difference + margin))


@dataclass(frozen=True, slots=True)
class PairedBootstrap:
    """A mean difference resampled by problem, or by cluster of problems."""

    interval: Interval
    p: float


def paired_bootstrap(
    differences: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> PairedBootstrap:
    """Draw as many clusters of problems again, with replacement, many times over: how does the mean difference vary?

    The interval is the expanded percentile interval (Hesterberg 2015): resampled means vary too little by a factor
    of sqrt((n - 1) / n), and their quantiles are a normal's where a t is due, so they are moved away from the
    mean by sqrt(n / (n - 1)) t / z, n clusters. p is twice the share of these on the lesser side of 0
    (those at 0 count for both sides, and the sample itself counts once), so it is never below 2 / (num_resamples + 1).
    A single cluster says nothing: -1 ... 1, p = 1.

    Args:
        differences: one per problem: a model's mean score less the baseline's.
        clusters: which cluster each problem belongs to; None makes each problem one of its own.
        seed: the same seed gives the same numbers.
    """
    import numpy as np

    sums = _cluster_sums(differences, clusters)
    if len(sums) < 2:
        return PairedBootstrap(Interval(-1.0, 1.0), 1.0)
    # Few kinds of cluster occur (multiples of 1/N), and how often each is drawn is multinomial: the same law, far
    # less work. Rounded, because 0.1 + 0.2 is no kind apart from 0.3.
    kinds, counts = np.unique(np.round(np.asarray(sums, dtype=np.float64), 12), axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(sums), counts / len(sums), size=num_resamples)
    mean = fsum(differences) / len(differences)
    factor = sqrt(len(sums) / (len(sums) - 1)) * _t(confidence, len(sums) - 1) / _z(confidence)
    # Rounded, because 0.1 + 0.2 - 0.3 is 0 here and has to count for both sides.
    resampled = np.round(mean + factor * ((drawn @ kinds[:, 0]) / (drawn @ kinds[:, 1]) - mean), 12)
    tail = (1 - confidence) / 2
    low, high = (min(1.0, max(-1.0, float(value))) for value in np.quantile(resampled, [tail, 1 - tail]))
    lesser = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
    return PairedBootstrap(Interval(low, high), min(1.0, 2 * (lesser + 1) / (num_resamples + 1)))


def holm(ps: Sequence[float]) -> list[float]:
    """The p of several tests, adjusted for how many they are (Holm 1979), in the order given.

    One that stays below 0.05 would do so by chance in one of 20 whole tables, not in one of 20 cells.

    >>> holm([0.01, 0.04, 0.03])  # 3 * 0.01, 2 * 0.03, and 1 * 0.04, which may not be below the one before it
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = largest
    return adjusted


def _z(confidence: float) -> float:
    """How many standard errors either side of the estimate hold it with this confidence."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _t(confidence: float, degrees: int) -> float:
    """The same for Student's t (Abramowitz and Stegun 26.7.5, four terms); 1 % off at 2 degrees of freedom.

    >>> round(_t(0.95, 2), 2), round(_t(0.95, 10), 3), round(_t(0.95, 299), 3)  # tables: 4.303, 2.228, 1.968
    (4.27, 2.228, 1.968)
    """
    z = _z(confidence)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return fsum(term / degrees**power for power, term in enumerate(terms))
