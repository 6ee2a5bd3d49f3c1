"""Put reports side by side, paired by problem: which differences are beyond chance.

Two models that answered the same problems are compared on these problems, which needs far fewer of
them than comparing two accuracies does: with one completion each by McNemar's exact test, with
several by a bootstrap over problems, and where problems are variants of one another by a bootstrap over
these clusters. A p is of one pair; ``adjusted_p`` allows for the number of pairs in the table (Holm).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import fsum
from pathlib import Path
from typing import Any, Literal

from distill.errors import DistillError
from distill.evals.chance import Interval, holm, mcnemar, paired_bootstrap, paired_interval
from distill.evals.gather import Run, find_run, gather_runs
from distill.evals.metrics import Means
from distill.evals.report import ProblemResult, Report, clusters
from distill.fingerprints import differences

SIGNIFICANCE = 0.05
Words = Literal["beyond chance", "within chance"]
Test = Literal["mcnemar", "paired bootstrap", "clustered bootstrap"]


@dataclass(frozen=True, slots=True)
class Difference:
    """How a model's accuracy differs from the baseline's on the problems that both were given."""

    num_problems: int
    """Problems in both reports."""
    difference: float
    """Accuracy less the baseline's, over these problems."""
    interval: Interval
    """Of the difference, 95 %."""
    p: float
    """How likely a difference at least so large is if the models are equally good."""
    test: Test
    only_model: int
    """Problems on which the model scored more than the baseline: McNemar's b."""
    only_baseline: int
    """Problems on which the baseline scored more: McNemar's c."""
    num_clusters: int | None = None
    """Clusters that these problems are of; None where each stands for itself."""
    same_completions: int | None = None
    """Problems whose completions are the same, word for word; None where these are not greedy, or not known."""
    adjusted_p: float | None = None
    """p as one of all that the table shows (Holm); None of a pair alone."""

    @property
    def verdict(self) -> Words:
        """'beyond chance' where p is below 0.05."""
        return "beyond chance" if self.p < SIGNIFICANCE else "within chance"

    @property
    def holds_in_table(self) -> bool:
        """Whether it is beyond chance even as one of all the differences that were looked at."""
        return self.adjusted_p is not None and self.adjusted_p < SIGNIFICANCE


@dataclass(frozen=True, slots=True)
class Cell:
    """One model on one benchmark."""

    accuracy: float
    interval: Interval
    num_problems: int
    mean_tokens: Means
    cpu_seconds: float
    difference: Difference | None
    """None on the baseline's own row, and where the baseline was not evaluated on this benchmark."""


@dataclass(frozen=True, slots=True)
class Row:
    """One model."""

    label: str
    """Differs from every other row's."""
    model: str
    train_cpu_seconds: float | None
    cells: tuple[Cell | None, ...]
    """Parallel to the comparison's benchmarks; None where the model was not evaluated."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows are models, columns are benchmarks."""

    benchmarks: tuple[str, ...]
    """'benchmark:split', in the order in which they were met."""
    rows: tuple[Row, ...]
    baseline: str
    """Label of the row that the others are compared with."""
    notes: tuple[str, ...]
    """What a reader has to know to trust a difference, one sentence each."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with each difference's verdict in words."""
        values = asdict(self)
        for row, plain_row in zip(self.rows, values["rows"], strict=True):
            for cell, plain_cell in zip(row.cells, plain_row["cells"], strict=True):
                if cell is not None and cell.difference is not None:
                    plain_cell["difference"]["verdict"] = cell.difference.verdict
        return values


def compare_reports(sources: Sequence[Report | Path | str], baseline: str | None = None) -> Comparison:
    """Compare every model with the baseline, on every benchmark that both were evaluated on.

    Args:
        sources: reports, their files, or folders that hold one report or one per subfolder.
        baseline: label or model of a row, or a path among ``sources``; None takes the first.

    Raises:
        DistillError: a path holds no report, nothing is called ``baseline``, or a model shares no
            benchmark, or no problem of a benchmark, with the baseline.
    """
    runs = gather_runs(sources)
    if not runs:
        raise DistillError("there is no report to compare", hint="name the reports of 'distill eval', or their folders")
    reference = runs[0] if baseline is None else find_run(runs, baseline)
    benchmarks = tuple(dict.fromkeys(name for run in runs for name in run.reports))
    for run in runs:
        if not run.reports.keys() & reference.reports.keys():
            raise DistillError(
                f"'{run.label}' was evaluated on {_listed(run.reports)}, the baseline '{reference.label}' "
                f"on {_listed(reference.reports)}: there is nothing to compare",
                hint="evaluate both on the same benchmark and split",
            )
    rows = _with_adjusted_p([_row(run, reference, benchmarks) for run in runs])
    notes = tuple(dict.fromkeys(note for run in runs if run is not reference for note in _notes(run, reference)))
    return Comparison(benchmarks, rows, reference.label, notes)


def compare_pair(report: Report, baseline: Report) -> Difference:
    """Pair two reports on one benchmark by problem id.

    Raises:
        DistillError: they are of different benchmarks, have no problem in common, or one id stands for
            two problems.
    """
    if report.name != baseline.name:
        raise DistillError(
            f"a report on '{report.name}' cannot be compared with one on '{baseline.name}'",
            hint="evaluate both on the same benchmark and split",
        )
    pairs = _pairs(report, baseline)
    if not pairs:
        raise DistillError(
            f"the reports of '{report.label}' and '{baseline.label}' on '{report.name}' have no problem in common",
            hint=f"ids look like '{report.problems[0].id}' and '{baseline.problems[0].id}'",
        )
    differences = [ours.score - theirs.score for ours, theirs in pairs]
    more, less = sum(value > 0 for value in differences), sum(value < 0 for value in differences)
    mean = fsum(differences) / len(pairs)
    found = clusters([ours for ours, _ in pairs])
    num_clusters = None if found is None else len(set(found))
    test: Test = "clustered bootstrap"
    if found is not None:
        bootstrap = paired_bootstrap(differences, clusters=found)
        interval, p = bootstrap.interval, bootstrap.p
    elif max(report.completions_per_problem, baseline.completions_per_problem) == 1:
        test, interval, p = "mcnemar", paired_interval(more, less, len(pairs)), mcnemar(more, less).p
    else:
        bootstrap = paired_bootstrap(differences)
        test, interval, p = "paired bootstrap", bootstrap.interval, bootstrap.p
    same = _same_completions(pairs) if _is_greedy(report) and _is_greedy(baseline) else None
    return Difference(len(pairs), mean, interval, p, test, more, less, num_clusters, same)


def _row(run: Run, reference: Run, benchmarks: Sequence[str]) -> Row:
    cells = tuple(
        _cell(run.reports[name], None if run is reference else reference.reports.get(name))
        if name in run.reports
        else None
        for name in benchmarks
    )
    train_cpu_seconds = next(iter(run.reports.values())).train_cpu_seconds
    return Row(run.label, run.model, train_cpu_seconds, cells)


def _cell(report: Report, baseline: Report | None) -> Cell:
    return Cell(
        accuracy=report.accuracy,
        interval=report.interval,
        num_problems=report.num_problems,
        mean_tokens=report.mean_tokens,
        cpu_seconds=report.cpu_seconds,
        difference=None if baseline is None else compare_pair(report, baseline),
    )


def _with_adjusted_p(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows with the p of every difference adjusted for the number of differences."""
    ps = [cell.difference.p for row in rows for cell in row.cells if cell is not None and cell.difference is not None]
    adjusted = iter(holm(ps))
    return tuple(replace(row, cells=tuple(_with_next_p(cell, adjusted) for cell in row.cells)) for row in rows)


def _with_next_p(cell: Cell | None, adjusted: Iterator[float]) -> Cell | None:
    if cell is None or cell.difference is None:
        return cell
    return replace(cell, difference=replace(cell.difference, adjusted_p=next(adjusted)))


def _pairs(report: Report, baseline: Report) -> list[tuple[ProblemResult, ProblemResult]]:
    theirs = {problem.id: problem for problem in baseline.problems}
    pairs = [(problem, theirs[problem.id]) for problem in report.problems if problem.id in theirs]
    for problem, other in pairs:
        if problem.fingerprint != other.fingerprint:
            raise DistillError(
                f"problem '{problem.id}' of '{report.name}' asks something else in the report of '{report.label}' "
                f"than in that of '{baseline.label}'",
                hint="the reports are of different data under one name, or the data changed in between",
            )
    return pairs


def _same_completions(pairs: Sequence[tuple[ProblemResult, ProblemResult]]) -> int | None:
    """How many problems have the same completion, word for word; None where a report does not say what they are."""
    if any(problem.outcomes and not problem.text for pair in pairs for problem in pair):
        return None
    return sum(ours.text == theirs.text for ours, theirs in pairs)


def _is_greedy(report: Report) -> bool:
    return bool(report.settings.get("sampling", {}).get("temperature") == 0)


def _notes(run: Run, reference: Run) -> Iterator[str]:
    """What makes a pair less than a comparison of two models on the same questions, asked the same way."""
    for name, report in run.reports.items():
        baseline = reference.reports.get(name)
        if baseline is None:
            continue
        pairs = _pairs(report, baseline)
        common, found = len(pairs), clusters([ours for ours, _ in pairs])
        if _may_be_one_model(report, baseline):
            yield from _same_words(f"{name}: '{run.label}' and '{reference.label}'", pairs)
        if found is not None:
            yield f"{name}: the problems are variants of {len(set(found))} others, and were resampled by these"
        if common < max(report.num_problems, baseline.num_problems):
            yield (
                f"{name}: '{run.label}' ({report.num_problems} problems) and '{reference.label}' "
                f"({baseline.num_problems}) are compared on the {common} that both were given"
            )
        differing = _differing_settings(report, baseline)
        if differing:
            in_what = "in" if report.model == baseline.model else "in more than the model:"
            yield f"{name}: '{run.label}' and '{reference.label}' differ {in_what} {', '.join(differing)}"


def _may_be_one_model(report: Report, baseline: Report) -> bool:
    """Greedy completions of one model, or by two backends, of which a server may call the model as it likes."""
    backends = {item.settings.get("backend") for item in (report, baseline)}
    return _is_greedy(report) and _is_greedy(baseline) and (report.model == baseline.model or len(backends) > 1)


def _same_words(who: str, pairs: Sequence[tuple[ProblemResult, ProblemResult]]) -> Iterator[str]:
    same = _same_completions(pairs)
    if same is None:
        return
    first = next((ours.id for ours, theirs in pairs if ours.text != theirs.text), "")
    differing = f"; the first that differs answers '{first}'" if first else ""
    yield f"{who} wrote the same, word for word, on {same:,} of {len(pairs):,} problems{differing}"


def _differing_settings(report: Report, baseline: Report) -> list[str]:
    """Dotted names of what was asked, sampled or judged in another way."""
    compared = {"examples", "prompt", "sampling", "verifier"}
    settings = ({key: item.settings[key] for key in compared & item.settings.keys()} for item in (baseline, report))
    return [name for name, _, _ in differences(*settings)]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
