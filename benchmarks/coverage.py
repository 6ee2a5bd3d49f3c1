"""How often an evaluation's intervals hold the truth, and its tests see a difference where there is none.

    python benchmarks/coverage.py

Everything is drawn from a seed: problems with a chance of being solved each (of a beta distribution, few of them
middling), completions by these chances. 95 % of intervals should hold the truth, and 5 % of tests of equal models
should find p < 0.05, or fewer where the test is exact.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np

from distill.evals.chance import (
    Interval,
    accuracy_interval,
    mcnemar,
    paired_bootstrap,
    paired_interval,
    wilson_interval,
)

Draw = np.random.Generator
NUM_RESAMPLES = 2_000


def holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def completions(draw: Draw, chances: np.ndarray, num_completions: int) -> np.ndarray:
    """The share of correct completions of each problem."""
    return draw.binomial(num_completions, chances) / num_completions


def proportion(problems: int, p: float) -> Callable[[Draw], bool]:
    return lambda draw: holds(wilson_interval(int(draw.binomial(problems, p)), problems), p)


def repeated(problems: int, num_completions: int) -> Callable[[Draw], bool]:
    def covers(draw: Draw) -> bool:
        means = completions(draw, draw.beta(0.6, 0.9, problems), num_completions)
        return holds(accuracy_interval(means.tolist(), num_completions), 0.4)

    return covers


def clustered(num_clusters: int, size: int, *, told: bool = True) -> Callable[[Draw], bool]:
    """Variants of one seed problem are equally hard; ``told`` says whether the interval knows which belong together."""
    names = np.repeat(np.arange(num_clusters), size).tolist()

    def covers(draw: Draw) -> bool:
        means = completions(draw, np.repeat(draw.beta(0.6, 0.9, num_clusters), size), 1)
        return holds(accuracy_interval(means.tolist(), clusters=names if told else None), 0.4)

    return covers


def pair(problems: int, first: float, second: float) -> Callable[[Draw], bool]:
    """One completion each; half of a model's luck is the problem's, which both share."""

    def covers(draw: Draw) -> bool:
        luck = draw.random(problems)
        ours = np.where(draw.random(problems) < 0.5, luck, draw.random(problems)) < first
        theirs = luck < second
        only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
        return holds(paired_interval(only_ours, only_theirs, problems), first - second)

    return covers


def bootstrapped(num_clusters: int, size: int) -> Callable[[Draw], bool]:
    """Four completions each; the second model solves what the first solves with the square of its chance."""
    names = np.repeat(np.arange(num_clusters), size).tolist()

    def covers(draw: Draw) -> bool:
        chances = np.repeat(draw.beta(1, 1, num_clusters), size)
        differences = completions(draw, chances**0.5, 4) - completions(draw, chances, 4)
        bootstrap = paired_bootstrap(differences.tolist(), clusters=names, num_resamples=NUM_RESAMPLES)
        return holds(bootstrap.interval, 2 / 3 - 1 / 2)

    return covers


def mcnemar_sees(problems: int) -> Callable[[Draw], bool]:
    def sees(draw: Draw) -> bool:
        ours, theirs = draw.random(problems) < 0.6, draw.random(problems) < 0.6
        return mcnemar(int((ours & ~theirs).sum()), int((theirs & ~ours).sum())).p < 0.05

    return sees


def bootstrap_sees(num_clusters: int, size: int) -> Callable[[Draw], bool]:
    names = np.repeat(np.arange(num_clusters), size).tolist()

    def sees(draw: Draw) -> bool:
        # Each model finds some clusters easier than others, independently: only clusters are independent tries.
        ours, theirs = (completions(draw, np.repeat(draw.beta(0.6, 0.9, num_clusters), size), 4) for _ in range(2))
        bootstrap = paired_bootstrap((ours - theirs).tolist(), clusters=names, num_resamples=NUM_RESAMPLES)
        return bootstrap.p < 0.05

    return sees


def cases() -> Iterator[tuple[str, str, Callable[[Draw], bool]]]:
    for problems, p in ((30, 0.1), (80, 0.69), (1319, 0.9)):
        yield "accuracy, one completion", f"{problems} problems, {p:.0%} solved", proportion(problems, p)
    for problems, num_completions in ((30, 8), (30, 64), (300, 4)):
        yield "accuracy, several", f"{problems} problems x {num_completions}", repeated(problems, num_completions)
    for num_clusters in (30, 300):
        yield "accuracy, by cluster", f"{num_clusters} seeds x 8", clustered(num_clusters, 8)
    yield "accuracy, clusters not told", "300 seeds x 8", clustered(300, 8, told=False)
    for problems, first, second in ((60, 0.5, 0.6), (1319, 0.85, 0.8)):
        yield (
            "difference, one completion",
            f"{problems} problems, {first:.0%} and {second:.0%}",
            pair(problems, first, second),
        )
    for num_clusters, size in ((12, 1), (30, 1), (300, 1), (12, 8), (300, 8)):
        what = f"{num_clusters} problems x 4" if size == 1 else f"{num_clusters} seeds x {size} x 4"
        yield "difference, bootstrap", what, bootstrapped(num_clusters, size)
    yield "p < 0.05, McNemar, equal models", "400 problems", mcnemar_sees(400)
    for num_clusters, size in ((30, 1), (300, 8)):
        what = f"{num_clusters} problems x 4" if size == 1 else f"{num_clusters} seeds x {size} x 4"
        yield "p < 0.05, bootstrap, equal models", what, bootstrap_sees(num_clusters, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=2_000, help="Simulated evaluations of each kind.")
    times = parser.parse_args().times
    print("| what | of | share |\n| --- | --- | ---: |")
    for name, what, case in cases():
        draw = np.random.default_rng(2_026)
        share = sum(case(draw) for _ in range(times)) / times
        print(f"| {name} | {what} | {share:.1%} |", flush=True)
    print(f"\n{times:,} simulated evaluations each; the standard error of 95 % is {(0.95 * 0.05 / times) ** 0.5:.1%}")


if __name__ == "__main__":
    main()
