"""What a page of results shows, gathered from the folders of evaluations: reports, safety, epochs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.errors import DistillError
from distill.evals.compare import Comparison, compare_reports
from distill.evals.gather import Run, gather_runs
from distill.evals.report import Report, find_reports, read_report
from distill.evals.safety import SafetyResult, measure_safety
from distill.evals.safety_judges import open_safety_judge
from distill.evals.safety_sources import read_sources

EPOCHS_FOLDER = "epochs"


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that a page shows."""

    comparison: Comparison
    runs: tuple[Run, ...]
    """Parallel to the comparison's rows."""
    safety: tuple[SafetyResult, ...]
    """By the rule-based judge, of every run on requests that it may refuse; called by the run's label."""
    epochs: dict[str, dict[str, list[tuple[int, Report]]]]
    """Benchmark -> label -> reports on the student after each epoch."""


def gather_content(sources: Sequence[Path], baseline: str | None = None) -> Content:
    """Read what the page of these evaluations shows.

    Raises:
        DistillError: as ``compare_reports`` does.
    """
    runs = gather_runs(sources)
    epochs: dict[str, dict[str, list[tuple[int, Report]]]] = {}
    for run in runs:
        for name, reports in _epochs(run.model).items():
            epochs.setdefault(name, {})[run.label] = reports
    safety = tuple(result for run in runs for result in _safety(run))
    return Content(compare_reports(sources, baseline), tuple(runs), safety, epochs)


def _safety(run: Run) -> list[SafetyResult]:
    """What the words of a run's completions say; nothing where it was asked nothing that it may refuse."""
    found: dict[str, SafetyResult] = {}
    with open_safety_judge("refusal") as judge:
        for path in sorted(run.sources):
            folder = Path(path) if Path(path).is_dir() else Path(path).parent
            with contextlib.suppress(DistillError):  # an evaluation without such benchmarks is one all the same
                for _, benchmark, answered in read_sources([folder]):
                    if benchmark in run.reports:
                        found[benchmark] = measure_safety(run.label, benchmark, answered, judge, judge)[0]
    return list(found.values())


def _epochs(model: str) -> dict[str, list[tuple[int, Report]]]:
    """Reports on the students of a training run here, by benchmark; 'distill train --evaluate' writes them."""
    folder = next((path / EPOCHS_FOLDER for path in (Path(model), Path(model).parent)
                   if (path / EPOCHS_FOLDER).is_dir()), None)  # fmt: skip
    found: dict[str, list[tuple[int, Report]]] = {}
    for epoch in sorted(folder.iterdir()) if folder is not None else ():
        if epoch.name.isdecimal() and any(epoch.glob("*/report.json")):
            for path in find_reports(epoch):
                report = read_report(path)
                found.setdefault(report.name, []).append((int(epoch.name), report))
    return found
