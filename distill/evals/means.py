"""Means over benchmarks: all of them, and those that are out of distribution as in SLowED."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import fsum, sqrt

from distill.evals.lm_eval import standard_error
from distill.evals.report import Report

SLOWED_OUT_OF_DISTRIBUTION = ("bb_sub", "agieval", "arc_easy", "arc_challenge")
"""SLowED trains on BIG-Bench Hard and reports the unweighted mean of these."""


def mean_lines(reports: Sequence[Report]) -> Iterator[str]:
    """What a model reached over several benchmarks, in sentences; nothing for one benchmark or several models."""
    if len(reports) < 2 or len({report.model for report in reports}) > 1:
        return
    yield f"mean of {len(reports)} benchmarks: {_described(reports)}"
    outside = [report for report in reports if report.benchmark in SLOWED_OUT_OF_DISTRIBUTION]
    if len(outside) > 1:
        found = {report.benchmark for report in outside}
        missing = [name for name in SLOWED_OUT_OF_DISTRIBUTION if name not in found]
        without = f"; SLowED's also has {', '.join(missing)}" if missing else ""
        yield f"out of distribution as in SLowED ({', '.join(sorted(found))}): {_described(outside)}{without}"


def macro_accuracy(reports: Sequence[Report]) -> tuple[float, float | None]:
    """The unweighted mean of the accuracies and its standard error, benchmarks taken as independent.

    sqrt(sum over the k benchmarks of the squared standard error) / k
    """
    errors = [standard_error([problem.score for problem in report.problems]) for report in reports]
    known = [error for error in errors if error is not None]
    mean = fsum(report.accuracy for report in reports) / len(reports)
    if len(known) < len(errors):
        return mean, None
    return mean, sqrt(fsum(error**2 for error in known)) / len(reports)


def micro_accuracy(reports: Sequence[Report]) -> float:
    """The mean over all problems of the benchmarks."""
    return fsum(report.accuracy * report.num_problems for report in reports) / fsum(
        report.num_problems for report in reports
    )


def _described(reports: Sequence[Report]) -> str:
    macro, error = macro_accuracy(reports)
    margin = f" ± {100 * error:.1f}" if error is not None else ""
    return f"{100 * macro:.1f} %{margin} (standard error), {100 * micro_accuracy(reports):.1f} % over all problems"
