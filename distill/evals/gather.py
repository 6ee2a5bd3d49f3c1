"""Reports gathered into runs: one model on any number of benchmarks, once on each.

Reports of one model belong together that were sampled in the same way, or written into one folder: competitions are
often sampled many times over and the rest greedily. A model's report on a benchmark that its run has already begins
another run, and the two are called by what they differ in.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.cards import USUAL_SPLIT
from distill.errors import DistillError
from distill.evals.report import Report, find_reports, read_report
from distill.fingerprints import differences
from distill.registry import did_you_mean

OF_BENCHMARK = frozenset({"benchmark", "commit", "examples", "prompt", "recorded", "verifier"})
"""Settings that may be others on each benchmark."""
OF_MODEL = frozenset({"model", "model_files"})
NOT_TOLD = OF_MODEL | {"benchmark", "commit", "examples", "recorded", "verifier"}
"""Settings that a label says nothing of."""
MAX_TOLD, MAX_VALUE = 3, 24
"""Settings that fit into a label, and characters of each one's value."""


@dataclass(slots=True)
class Run:
    """One model's reports, while they are gathered."""

    label: str
    model: str
    identity: str
    """The same for all reports of one model; its files tell a student trained again apart."""
    keys: set[str] = field(default_factory=set)
    """How the reports were sampled."""
    folders: set[Path] = field(default_factory=set)
    """Evaluations that the reports are of."""
    reports: dict[str, Report] = field(default_factory=dict)
    """By benchmark."""
    sources: set[str] = field(default_factory=set)
    """Paths that the caller named and that held one of these reports."""


def gather_runs(sources: Sequence[Report | Path | str]) -> list[Run]:
    """Gather the reports of each model; a file that is named twice, or by its folder and by itself, counts once."""
    runs: list[Run] = []
    run_of: dict[Path, Run] = {}
    for source in sources:
        if isinstance(source, Report):
            _add(runs, source, None)
            continue
        for file, report in _read_all(Path(source)):
            if file not in run_of:
                run_of[file] = _add(runs, report, file.parent.parent)
            run_of[file].sources.add(str(Path(source)))
    runs = list(_joined(runs))
    _make_labels_distinct(runs)
    return runs


def _add(runs: list[Run], report: Report, folder: Path | None) -> Run:
    """Put a report into the run it belongs to, or into a new one."""
    identity = json.dumps([report.label, report.model, report.settings.get("model_files")])
    key = json.dumps(_sampling(report), sort_keys=True)
    open_runs = [run for run in runs if run.identity == identity and report.name not in run.reports]
    run = next((run for run in open_runs if key in run.keys), None)
    run = run or next((run for run in open_runs if folder in run.folders), None)
    if run is None:
        run = Run(report.label, report.model, identity)
        runs.append(run)
    run.keys.add(key)
    run.folders |= {folder} if folder is not None else set()
    run.reports[report.name] = report
    return run


def _joined(runs: Sequence[Run]) -> Iterator[Run]:
    """The runs of a model as one where no two of them are on the same benchmark."""
    for identity in dict.fromkeys(run.identity for run in runs):
        of_model = [run for run in runs if run.identity == identity]
        counts = Counter(name for run in of_model for name in run.reports)
        if max(counts.values()) > 1:
            yield from of_model
            continue
        first, *others = of_model
        for other in others:
            first.keys |= other.keys
            first.folders |= other.folders
            first.reports |= other.reports
            first.sources |= other.sources
        yield first


def _read_all(path: Path) -> list[tuple[Path, Report]]:
    """Reports at a path with their files; of a benchmark's splits the one read unless another is named comes first."""
    reports = [(found.resolve(), read_report(found)) for found in find_reports(path)]
    usual = USUAL_SPLIT["benchmark"]
    return sorted(reports, key=lambda pair: (pair[1].benchmark, pair[1].split != usual, pair[1].split))


def _sampling(report: Report) -> dict[str, Any]:
    """The settings that may be the same on every benchmark, without those that say which model it is."""
    return {key: value for key, value in report.settings.items() if key not in OF_BENCHMARK | OF_MODEL}


def _make_labels_distinct(runs: Sequence[Run]) -> None:
    """Add to a label that several runs have the model, then what they differ in, then a number."""
    for label, same in _of_one_label(runs):
        for run in same:
            run.label = f"{label} ({run.model})" if run.model != label else label
    for label, same in list(_of_one_label(runs)):
        for run, said in zip(same, _what_differs(_settings_side_by_side(same)), strict=True):
            run.label = f"{label} ({said})" if said else label
    seen: Counter[str] = Counter()
    for run in runs:
        seen[run.label] += 1
        if seen[run.label] > 1:
            run.label = f"{run.label} #{seen[run.label]}"


def _of_one_label(runs: Sequence[Run]) -> Iterator[tuple[str, list[Run]]]:
    """Labels that several runs have, with these."""
    for label, count in Counter(run.label for run in runs).items():
        if count > 1:
            yield label, [run for run in runs if run.label == label]


def _settings_side_by_side(runs: Sequence[Run]) -> list[Mapping[str, Any]]:
    """Of each run those on a benchmark that all of them have, where there is one."""
    shared = next((name for name in runs[0].reports if all(name in run.reports for run in runs)), "")
    return [run.reports.get(shared, next(iter(run.reports.values()))).settings for run in runs]


def _what_differs(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of each what sets it apart from the others, in a few words: 'temperature 0.7, seed 1'."""
    known = [{key: value for key, value in each.items() if key not in NOT_TOLD} for each in settings]
    names = dict.fromkeys(name for other in known[1:] for name, _, _ in differences(known[0], other))
    values = {name: [_value(each, name.split(".")) for each in known] for name in names}
    told = [name for name, found in values.items() if not any(isinstance(value, dict) for value in found)][:MAX_TOLD]
    return [", ".join(_said(name, values[name][place]) for name in told) for place in range(len(known))]


def _value(settings: Any, path: Sequence[str]) -> Any:
    for name in path:
        settings = settings.get(name) if isinstance(settings, dict) else None
    return settings


def _said(name: str, value: Any) -> str:
    last = name.rpartition(".")[2].replace("_", " ")
    text = "" if value is None else str(value)
    if not text:
        return f"no {last}"
    return f"{last} {text}" if len(text) <= MAX_VALUE else f"{last} {text[: MAX_VALUE - 1]}…"


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
