"""Reports gathered into runs: one model under the same settings, on any number of benchmarks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distill.cards import USUAL_SPLIT
from distill.errors import DistillError
from distill.evals.report import Report, find_reports, read_report
from distill.registry import did_you_mean


@dataclass(slots=True)
class Run:
    """One model's reports, while they are gathered."""

    label: str
    model: str
    key: str
    reports: dict[str, Report] = field(default_factory=dict)
    """By benchmark."""
    sources: set[str] = field(default_factory=set)
    """Paths that the caller named and that held one of these reports."""


def gather_runs(sources: Sequence[Report | Path | str]) -> list[Run]:
    """Gather the reports of one model under the same settings; a second one on a benchmark begins another run.

    A file that is named twice, or by its folder and by itself, counts once.
    """
    runs: list[Run] = []
    run_of: dict[Path, Run] = {}
    for source in sources:
        if isinstance(source, Report):
            _add(runs, source)
            continue
        for file, report in _read_all(Path(source)):
            if file not in run_of:
                run_of[file] = _add(runs, report)
            run_of[file].sources.add(str(Path(source)))
    _make_labels_distinct(runs)
    return runs


def _add(runs: list[Run], report: Report) -> Run:
    """Put a report into the run it belongs to, or into a new one."""
    key = _run_key(report)
    run = next((run for run in runs if run.key == key and report.name not in run.reports), None)
    if run is None:
        run = Run(report.label, report.model, key)
        runs.append(run)
    run.reports[report.name] = report
    return run


def _read_all(path: Path) -> list[tuple[Path, Report]]:
    """Reports at a path with their files; of a benchmark's splits the one read unless another is named comes first."""
    reports = [(found.resolve(), read_report(found)) for found in find_reports(path)]
    usual = USUAL_SPLIT["benchmark"]
    return sorted(reports, key=lambda pair: (pair[1].benchmark, pair[1].split != usual, pair[1].split))


def _run_key(report: Report) -> str:
    """The same for all benchmarks of one evaluation; the model's files tell a student trained again apart."""
    of_benchmark = {"benchmark", "commit", "examples", "prompt", "recorded", "verifier"}
    settings = {key: value for key, value in report.settings.items() if key not in of_benchmark}
    return json.dumps([report.label, report.model, settings], sort_keys=True)


def _make_labels_distinct(runs: Sequence[Run]) -> None:
    """Add the model to a label that several runs have, and a number where even that is the same."""
    shared = {label for label, count in Counter(run.label for run in runs).items() if count > 1}
    seen: Counter[str] = Counter()
    for run in runs:
        if run.label in shared and run.model != run.label:
            run.label = f"{run.label} ({run.model})"
        seen[run.label] += 1
        if seen[run.label] > 1:
            run.label = f"{run.label} #{seen[run.label]}"


def find_run(runs: Sequence[Run], name: str) -> Run:
    """The run that a label, a model or one of the caller's paths names."""
    found = [run for run in runs if name in {run.label, run.model} or str(Path(name)) in run.sources]
    if not found:
        raise DistillError(f"no report is of '{name}'", hint=did_you_mean(name, [run.label for run in runs]))
    if len(found) > 1:
        raise DistillError(
            f"'{name}' names {len(found)} of the compared models",
            hint="say which: " + ", ".join(f"'{run.label}'" for run in found),
        )
    return found[0]
