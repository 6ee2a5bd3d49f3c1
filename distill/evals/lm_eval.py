"""Results in the shape of lm-evaluation-harness's results.json, for everything that reads that.

A metric is called 'acc,none' where our verifier says it and 'acc,RULE' where somebody else's rule does: in that shape
the second name is that of the filter by which an answer was read. Tasks and categories are subtasks of a group.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from math import fsum, sqrt
from pathlib import Path
from typing import Any

import distill
from distill.evals.report import Report
from distill.files import write_atomically

RESULTS_FILE = "results.json"


def write_results(reports: Sequence[Report], folder: Path) -> None:
    """Write the reports of one model as ``results.json``."""
    write_atomically(folder / RESULTS_FILE, json.dumps(results(reports), indent=2) + "\n")


def results(reports: Sequence[Report]) -> dict[str, Any]:
    """What lm-evaluation-harness would have written of the same figures."""
    first = reports[0]
    tasks: dict[str, Any] = {}
    samples: dict[str, Any] = {}
    subtasks: dict[str, list[str]] = {}
    for report in reports:
        name = task_name(report)
        tasks[name] = {"alias": name, **_metrics(report), "sample_len": report.num_problems}
        samples[name] = _num_samples(report.num_problems + report.absent, report.num_problems)
        subtasks[name] = [f"{name}_{part.name}" for part in report.parts]
        for part in report.parts:
            subtask = f"{name}_{part.name}"
            error = _of_share(part.accuracy, part.num_problems, report.completions_per_problem)
            metrics = {"acc,none": part.accuracy, "acc_stderr,none": error}
            tasks[subtask] = {"alias": part.name, **metrics, "sample_len": part.num_problems}
            samples[subtask] = _num_samples(part.num_problems, part.num_problems)
    return {
        "results": tasks,
        "groups": {name: tasks[name] for name, parts in subtasks.items() if parts},
        "group_subtasks": subtasks,
        "configs": {task_name(report): _config(report) for report in reports},
        "versions": dict.fromkeys(tasks, distill.__version__),
        "n-shot": {name: shots for report in reports for name, shots in _shots(report)},
        "higher_is_better": {name: {"acc": True} for name in tasks},
        "n-samples": samples,
        "config": {"model": first.settings.get("backend", "recorded"), "model_args": f"pretrained={first.model}"},
        "model_name": first.model,
        "distill_version": distill.__version__,
        "python_version": platform.python_version(),
        "total_evaluation_time_seconds": str(fsum(report.wall_seconds for report in reports)),
    }


def task_name(report: Report) -> str:
    """The benchmark as a task's name: without its split where that is the usual one."""
    return report.benchmark if report.split in {"", "test", "all"} else f"{report.benchmark}_{report.split}"


def standard_error(scores: Sequence[float]) -> float | None:
    """The sample's standard error of a mean, as lm-evaluation-harness takes it; None of fewer than two.

    >>> standard_error([1, 1, 0, 0])  # sqrt(4 * 0.25 / 3 / 4)
    0.28867513459481287
    """
    if len(scores) < 2:
        return None
    center = fsum(scores) / len(scores)
    return sqrt(fsum((score - center) ** 2 for score in scores) / (len(scores) - 1) / len(scores))


def _metrics(report: Report) -> dict[str, Any]:
    scores = [problem.score for problem in report.problems]
    found: dict[str, Any] = {"acc,none": report.accuracy, "acc_stderr,none": _known(standard_error(scores))}
    for k, share in report.pass_at_k.items():
        found |= {f"pass@{k},none": share, f"pass@{k}_stderr,none": "N/A"}
    for k, share in report.majority_at_k.items():
        found |= {f"maj@{k},none": share, f"maj@{k}_stderr,none": "N/A"}
    if report.flexible_accuracy is not None:
        found |= {"acc,flexible": report.flexible_accuracy, "acc_stderr,flexible": "N/A"}
    for rule, result in report.rules.items():
        error = _of_share(result.accuracy, len(scores), report.completions_per_problem)
        found |= {f"acc,{rule}": result.accuracy, f"acc_stderr,{rule}": error}
    return found


def _of_share(share: float, count: int, completions_per_problem: int) -> float | str:
    """The standard error of a share of right answers; of several completions each it would need every score."""
    return sqrt(share * (1 - share) / (count - 1)) if count > 1 and completions_per_problem == 1 else "N/A"


def _known(value: float | None) -> float | str:
    return "N/A" if value is None else value


def _num_samples(original: int, effective: int) -> dict[str, int]:
    return {"original": original, "effective": effective}


def _shots(report: Report) -> Iterator[tuple[str, int]]:
    """Of a benchmark and its parts: how many worked examples stood before a question."""
    count = report.settings.get("examples", {}).get("count", 0)
    name = task_name(report)
    yield from ((task, count) for task in (name, *(f"{name}_{part.name}" for part in report.parts)))


def _config(report: Report) -> Mapping[str, Any]:
    verifier = report.settings.get("verifier", {})
    return {
        "task": task_name(report),
        "output_type": "generate_until",
        "repeats": report.completions_per_problem,
        "generation_kwargs": report.settings.get("sampling", {}),
        "metadata": {"split": report.split, "verifier": verifier},
    }
