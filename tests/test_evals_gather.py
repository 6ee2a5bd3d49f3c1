"""Which reports belong to one run, and what the runs of one model are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.evals.compare import compare_reports
from distill.evals.gather import gather_runs
from distill.evals.report import Report, write_report
from tests.test_evals_compare import report_of


def report(benchmark: str, *, model: str = "m", files: str = "f", temperature: float = 0.0, **settings: Any) -> Report:
    values = {"model": model, "model_files": files, "sampling": {"temperature": temperature}, "seed": 0, **settings}
    return replace(report_of(model, [1, 0], benchmark=benchmark), model=model, settings=values)


def save(folder: Path, *reports: Report) -> Path:
    for item in reports:
        path = folder / item.benchmark / "report.json"
        path.parent.mkdir(parents=True)
        write_report(item, path)
    return folder


def found(*sources: Report | Path) -> dict[str, list[str]]:
    """Label -> benchmarks."""
    return {run.label: list(run.reports) for run in gather_runs(sources)}


@pytest.mark.parametrize(
    ("other", "labels"),
    [
        ({"temperature": 0.7}, ["m (temperature 0.0)", "m (temperature 0.7)"]),
        ({"seed": 1}, ["m (seed 0)", "m (seed 1)"]),
        ({"temperature": 0.7, "seed": 1}, ["m (temperature 0.0, seed 0)", "m (temperature 0.7, seed 1)"]),
        ({"dtype": "bfloat16"}, ["m (no dtype)", "m (dtype bfloat16)"]),
        ({"prompt": {"system": "Think first, then answer, in detail."}}, ["m", "m #2"]),  # on one side only
        ({"verifier": {"versions": {"sympy": "1.14"}}}, ["m", "m #2"]),
        ({"files": "g"}, ["m", "m #2"]),  # trained again
        ({}, ["m", "m #2"]),
    ],
)
def test_one_model_evaluated_twice_is_called_by_what_differs(other: Mapping[str, Any], labels: list[str]) -> None:
    runs = compare_reports([report("sums"), report("sums", **other)])
    assert [row.label for row in runs.rows] == labels
    assert runs.rows[1].cells[0] is not None


def test_a_long_value_is_cut_in_a_label_and_only_a_few_are_told() -> None:
    prompts = [{"system": f"{word} " * 9, "format": word, "template": word} for word in ("first", "second")]
    one, two = (report("sums", prompt=prompt, seed=seed) for seed, prompt in enumerate(prompts))
    assert list(found(one, two)) == [
        "m (format first, system first first first first…, template first)",
        "m (format second, system second second second se…, template second)",
    ]


def test_benchmarks_of_one_evaluation_may_be_sampled_in_different_ways(tmp_path: Path) -> None:
    folders = [
        save(tmp_path / model, report("aime24", model=model, temperature=0.6), report("gsm8k", model=model))
        for model in ("base", "sft")
    ]
    assert found(*folders) == {"base": ["aime24:test", "gsm8k:test"], "sft": ["aime24:test", "gsm8k:test"]}
    comparison = compare_reports(folders)
    assert all(cell is not None and cell.difference is not None for cell in comparison.rows[1].cells)
    assert comparison.notes == ()


def test_two_evaluations_of_one_model_stay_apart_where_they_overlap(tmp_path: Path) -> None:
    greedy = save(tmp_path / "greedy", report("gsm8k"))
    warm = save(tmp_path / "warm", report("aime24", temperature=1.0), report("gsm8k", temperature=0.6))
    assert found(greedy, warm) == {
        "m (temperature 0.0)": ["gsm8k:test"],
        "m (temperature 0.6)": ["aime24:test", "gsm8k:test"],
    }
    assert compare_reports([greedy, warm]).notes[-1] == (
        "gsm8k:test: 'm (temperature 0.6)' and 'm (temperature 0.0)' differ in sampling.temperature"
    )


def test_two_evaluations_of_one_model_on_different_benchmarks_are_one_row(tmp_path: Path) -> None:
    greedy = save(tmp_path / "greedy", report("gsm8k"))
    warm = save(tmp_path / "warm", report("aime24", temperature=0.6))
    assert found(greedy, warm) == {"m": ["gsm8k:test", "aime24:test"]}
    other = save(tmp_path / "other", report("aime24", model="n", temperature=0.6))
    assert compare_reports([greedy, warm, other], baseline="n").baseline == "n"
