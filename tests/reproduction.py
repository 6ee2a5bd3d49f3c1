"""Published figures and the completions that they were made of: for a test and for ``benchmarks/reproduce.py``."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.config import ColumnsConfig, EvalConfig, RecordedConfig, SourceConfig
from distill.evals.report import Report
from distill.evals.rescore import rescore

GPT_3 = {"6b_finetuning": 21.7, "6b_verification": 39.0, "175b_finetuning": 34.7, "175b_verification": 56.3}
"""GSM8K's paper and the file's own labels, in percent."""


@dataclass(frozen=True, slots=True)
class Line:
    """One figure."""

    benchmark: str
    model: str
    published: int
    """Completions that the authors count as right."""
    total: int
    ours: int
    by_rule: int | None = None
    """Those that the authors' rule takes for right, where the benchmark has one."""
    differing: int | None = None
    """Completions about which that rule and our verifier differ."""


def gsm8k(data: Path) -> list[Report]:
    """Four GPT-3 models."""
    return scored(
        data / "gsm8k" / "example_model_solutions.jsonl",
        "gsm8k",
        recorded={"completions": tuple(f"{model}.solution" for model in GPT_3), "models": tuple(GPT_3)},
        source=SourceConfig(columns=ColumnsConfig(answer="ground_truth"), answer_after="A:"),
    )


def bbh(data: Path) -> Report:
    """Codex."""
    [report] = scored(bbh_file(data), "bbh", recorded={"completions": "rationale"}, rules=("authors", "lm-eval"))
    return report


def mmlu_pro_sample(data: Path) -> list[Report]:
    """Fifteen models on 400 questions each."""
    return scored(mmlu_pro_file(data), "mmlu_pro", rules=("authors", "lm-eval"))


def mmlu_pro_whole(data: Path) -> Report:
    """Llama-3.1-8B-Instruct on all questions."""
    [report] = scored(
        llama_file(data),
        "mmlu_pro",
        rules=("authors",),
        recorded={"id": "question_id"},
        source=SourceConfig(path=str(data / "mmlu_pro" / "test.jsonl.gz")),
    )
    return report


def bbh_file(data: Path) -> Path:
    return data / "bbh" / "code_davinci_002_cot.jsonl.gz"


def mmlu_pro_file(data: Path) -> Path:
    return data / "verify" / "mmlu_pro_outputs_sample_a.jsonl.gz"


def llama_file(data: Path) -> Path:
    return data / "mmlu_pro" / "outputs_Meta-Llama-3_1-8B-Instruct.jsonl.gz"


def lines(data: Path) -> Iterator[Line]:
    """Every figure, the authors' labels counted anew."""
    for report in gsm8k(data):
        labels = [
            row[report.model]["is_correct"] for row in read_rows(data / "gsm8k" / "example_model_solutions.jsonl")
        ]
        yield Line("GSM8K", f"GPT-3 {report.model}", sum(labels), len(labels), num_right(report))
    right = Counter(row["task"] for row in read_rows(bbh_file(data)) if row["correct"])
    report = bbh(data)
    for part in report.parts:
        ours = round(part.accuracy * part.num_problems)
        yield Line(f"BBH {part.name}", "code-davinci-002", right[part.name], part.num_problems, ours)
    yield _line("BBH, 27 tasks", "code-davinci-002", sum(right.values()), report)
    sample = read_rows(mmlu_pro_file(data))
    extracted = Counter(row["model"] for row in sample if row["recomputed_pred"] == row["gold"])
    for report in mmlu_pro_sample(data):
        yield _line("MMLU-Pro, 400", report.model, extracted[report.model], report)
    stored = sum(row["pred"] == row["answer"] for row in read_rows(llama_file(data)))
    yield _line("MMLU-Pro, whole", "Llama-3.1-8B-Instruct", stored, mmlu_pro_whole(data))


def num_right(report: Report) -> int:
    """Completions that our verifier takes for right."""
    return sum(problem.num_correct for problem in report.problems)


def scored(path: Path, benchmark: str, **fields: Any) -> list[Report]:
    """The reports on a file of completions."""
    recorded = RecordedConfig(path=str(path), **fields.pop("recorded", {}))
    return rescore(EvalConfig(benchmarks=(benchmark,), recorded=recorded, **fields))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a JSON Lines file."""
    with gzip.open(path, "rt") if path.name.endswith(".gz") else path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _line(benchmark: str, model: str, published: int, report: Report) -> Line:
    rule = report.rules["authors"]
    by_rule = round(rule.accuracy * report.num_problems)
    return Line(benchmark, model, published, report.num_problems, num_right(report), by_rule, rule.disagreements)
